"""Load of the whole cabinet over time, in steps. Runs inside the caller's transaction."""

import sqlite3
from collections.abc import Iterable

from cabinet.records import LoadSample
from cabinet.store import rows

STEP_S = 300
KEPT_DAYS = 100
MAX_SAMPLES = KEPT_DAYS * 86_400 // STEP_S
"""28,800 rows of about 30 bytes: the table never exceeds one megabyte."""


def add(connection: sqlite3.Connection, samples: Iterable[LoadSample]) -> None:
    """Add samples and delete those that are too old; a new sample replaces an existing one of the same step."""
    connection.executemany(
        "INSERT OR REPLACE INTO load_sample (start_unix_s, mean_mw, peak_mw, limit_mw) VALUES (?, ?, ?, ?)",
        [(each.start_unix_s, each.mean_mw, each.peak_mw, each.limit_mw) for each in samples],
    )
    connection.execute(
        "DELETE FROM load_sample WHERE start_unix_s <= (SELECT max(start_unix_s) FROM load_sample) - ?",
        (MAX_SAMPLES * STEP_S,),
    )


def between(connection: sqlite3.Connection, from_unix_s: int, to_unix_s: int) -> list[LoadSample]:
    sql = "SELECT * FROM load_sample WHERE start_unix_s >= ? AND start_unix_s < ? ORDER BY start_unix_s"
    return rows.many(connection, LoadSample, sql, from_unix_s, to_unix_s)
