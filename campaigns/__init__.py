"""Thousands of random scenarios against the whole guard: each prints its seed, and one command replays it."""
