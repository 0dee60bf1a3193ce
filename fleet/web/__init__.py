"""Web pages of the fleet: those of residents, over the ports of `cabinet.web`, and those of property companies."""
