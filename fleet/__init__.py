"""Fleet: one place for the cabinets, residents, money and logs of property companies."""
