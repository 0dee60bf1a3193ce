"""Schema of the fleet's database: one numbered migration per file, applied forward only, each in one transaction."""
