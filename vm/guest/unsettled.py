"""Number of unsettled charges at a power cut, counted at boot before the service starts, which may end them.

It reads a copy, because the service must find the database as the power cut has left it. It writes one line for each
start of the service: the boot's id, and the number.
"""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

DATABASE = Path("/var/lib/cabinet/cabinet.db")
ANSWERS = Path("/var/lib/bench/unsettled")


def unsettled() -> int:
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        for path in (DATABASE, DATABASE.with_name("cabinet.db-wal")):
            if path.exists():
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / DATABASE.name)) as connection:
            count: int = connection.execute("SELECT count(*) FROM session WHERE state != 'settled'").fetchone()[0]
            return count


if __name__ == "__main__":
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with ANSWERS.open("a") as file:
        file.write(f"{boot} {unsettled()}\n")
        file.flush()
        os.fsync(file.fileno())
