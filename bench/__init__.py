"""One script per claim, run from the repository's root: `python -m bench.trip`. Each prints a ratio from one run."""
