"""Steward: the root operations of the console, and nothing else: clock, network display, sticks, restarts.

It is a separate process: the console stays sandboxed, without network, capabilities or access to other files.
It accepts no text that could become a command: seven requests, each a value, from the console's own account only.
"""
