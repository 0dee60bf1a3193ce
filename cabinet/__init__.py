"""Controller of a charging cabinet for electric bicycles; see `docs/architecture.md` for an overview."""

__version__ = "0.1.0"
