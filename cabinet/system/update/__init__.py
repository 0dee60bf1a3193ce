"""`cabinet update`: signed bundles, the checks before an installation, and the trial of the new version."""
