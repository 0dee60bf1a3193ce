"""Drivers from the data sheets: I2C bus and chips; opening everything without the guard; the Pi's config.txt."""
