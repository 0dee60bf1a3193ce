"""Controller of a charging cabinet for electric bicycles; `docs/architecture.md` is the tour."""

__version__ = "0.1.0"
