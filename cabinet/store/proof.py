"""Comparison of the usage log with records kept elsewhere: closings, heads by day, exports, receipts.

The chain shows a change in the middle. It does not show an end that was cut off together with its head, or a log
rewritten as a whole. Copies that were kept outside the cabinet show both. The comparison goes both ways.
"""

import datetime
import sqlite3
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cabinet.clock import day_start_ms
from cabinet.config.keys import SiteSection
from cabinet.records import SignedClosing, UsageHead
from cabinet.store import month_closing
from cabinet.usage_chain import is_signed

MAX_REPORTED = 20  # problems listed of one kind
MAX_UNIX_MS = 253_370_764_800_000  # the year 9999, the last one of `datetime`
_SHOWN_DIGITS = 16


class KeptRecord(NamedTuple):
    """One record as it was kept; `place` is its location, such as `november.csv, row 17`.

    `figures` are the cells with its numbers, if it comes from a table: see `reports.kept`.
    """

    number: int
    record_hash: str
    place: str
    figures: str = ""


def heads(
    connection: sqlite3.Connection, site: SiteSection, from_unix_ms: int | None = None, to_unix_ms: int | None = None
) -> list[UsageHead]:
    """Return the last record, by number, of every day of the site on which charges ended; oldest day first."""
    zone, found, at_ms = zoneinfo.ZoneInfo(site.timezone), [], from_unix_ms or 0
    while (next_ms := _next_end_ms(connection, at_ms, to_unix_ms)) is not None:
        day = datetime.datetime.fromtimestamp(next_ms / 1000, zone).date()
        start_ms, at_ms = (day_start_ms(each, zone) for each in (day, day + datetime.timedelta(days=1)))
        row = connection.execute(
            "SELECT number, record_hash FROM usage_record WHERE number ="
            " (SELECT max(number) FROM usage_record WHERE ended_unix_ms >= ? AND ended_unix_ms < ?)",
            (start_ms, at_ms),
        ).fetchone()
        found.append(UsageHead(day.isoformat(), site.site_id, row["number"], row["record_hash"]))
    return found


def _next_end_ms(connection: sqlite3.Connection, from_ms: int, to_ms: int | None) -> int | None:
    """Return the end of the first charge that ended at or after `from_ms`; skips days without any, even thousands."""
    row = connection.execute(
        "SELECT min(ended_unix_ms) AS at_ms FROM usage_record WHERE ended_unix_ms >= ? AND ended_unix_ms < ?",
        (from_ms, MAX_UNIX_MS if to_ms is None else to_ms),
    ).fetchone()
    return None if row["at_ms"] is None else int(row["at_ms"])


def compare_closings(
    connection: sqlite3.Connection, own: Sequence[SignedClosing], kept: Sequence[SignedClosing], key: str
) -> list[str]:
    """Return a sentence for every invalid closing, of the cabinet's `own` and of those `kept` elsewhere.

    `key` is the trusted public key. A kept closing must exist here with identical contents.
    """
    numbers = [signed.closing.number for signed in own]
    problems = [
        f"closing {number} is missing" for number in range(1, max(numbers, default=0) + 1) if number not in numbers
    ]
    problems += [
        f"closing of {signed.closing.month}: {problem}"
        for signed in [*own, *(each for each in kept if each not in own)]
        if (problem := month_closing.problem_of(connection, signed, key)) is not None
    ]
    here = {signed.closing.number: signed for signed in own}
    for signed in kept:
        closing, mine = signed.closing, here.get(signed.closing.number)
        if not is_signed(signed, key):
            continue  # already reported: it proves nothing
        if mine is None:
            problems.append(
                f"closing {closing.number} of {closing.month} was kept and is missing here, where the newest is"
                f" {max(numbers, default=0) or 'none'}: the database is an older one (restored?), or was cut"
            )
        elif mine.closing != closing:
            names = [
                name for name in closing.__struct_fields__ if getattr(closing, name) != getattr(mine.closing, name)
            ]
            problems.append(
                f"closing {closing.number} of {closing.month} was kept and is another one here:"
                f" {', '.join(names)} differ: it was made again after it was kept"
            )
    return list(dict.fromkeys(problems))


def compare_records(connection: sqlite3.Connection, marks: Iterable[KeptRecord]) -> tuple[int, list[str]]:
    """Return the number of records compared, and a sentence for each kept record that is missing or different here."""
    last = connection.execute("SELECT coalesce(max(number), 0) FROM usage_record").fetchone()[0]
    problems: list[str] = []
    compared = more = 0
    for mark in marks:
        compared += 1
        row = connection.execute("SELECT record_hash FROM usage_record WHERE number = ?", (mark.number,)).fetchone()
        if row is not None and row["record_hash"] == mark.record_hash:
            continue
        if len(problems) >= MAX_REPORTED:
            more += 1
        elif row is None:
            problems.append(
                f"{mark.place}: record {mark.number} was kept and is missing here, where the log ends with {last}:"
                " the database is an older one (restored?), or was cut"
            )
        else:
            problems.append(
                f"{mark.place}: record {mark.number} was kept with hash {_short(mark.record_hash)} and has"
                f" {_short(row['record_hash'])} here: it, or one before it, was changed since"
            )
    return compared, problems + ([f"and {more} records more"] if more else [])


def number_of_order(connection: sqlite3.Connection, order_number: str) -> int | None:
    """Return the record number of an order, or None."""
    row = connection.execute(
        "SELECT number FROM usage_record WHERE body ->> '$.order_number' = ?", (order_number,)
    ).fetchone()
    return None if row is None else int(row["number"])


def _short(record_hash: str) -> str:
    return f"{record_hash[:_SHOWN_DIGITS]}…"
