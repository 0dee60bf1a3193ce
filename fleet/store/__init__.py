"""PostgreSQL: migrations, and one module a subject. Functions take a connection and run in the caller's transaction."""
