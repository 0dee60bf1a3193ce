"""Thousands of random scenarios against the whole guard: each from a seed that is printed, each replayed by one command."""
