"""The database schema, one numbered step a file; applied forward only, each in one transaction."""
