"""Exit status 0 if a session charges: not only its relay is closed, its load draws power too."""

import sqlite3
import sys
from contextlib import closing

DATABASE = "file:/var/lib/cabinet/cabinet.db?mode=ro"


def main() -> None:
    with closing(sqlite3.connect(DATABASE, uri=True)) as connection:
        sys.exit(connection.execute("SELECT 1 FROM session WHERE state = 'charging'").fetchone() is None)


if __name__ == "__main__":
    main()
