"""Thousands of random scenarios against the whole guard: each has a printed seed, and one command replays it."""
