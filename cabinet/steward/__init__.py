"""What only root may do, for the console, and nothing else: clock, network shown, sticks, restarts.

A process of its own, so that the console keeps its cage: it has no network, no capabilities and no way to other files.
It takes no text that could become a command: seven requests, each a value, from the console's own account only.
"""
