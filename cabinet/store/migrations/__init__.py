"""Database schema: one numbered migration per file, applied forward only, each in one transaction."""
