"""Payment platforms behind one port: signing, adapters, and the checks of what they report."""
