"""Pages of property companies: one module per subject."""
