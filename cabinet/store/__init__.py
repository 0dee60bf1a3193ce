"""The SQLite database: one file per subject, migrations, backups and checks."""
