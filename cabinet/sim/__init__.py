"""The simulated cabinet: world, loads and faults, without a line shared with the drivers."""
