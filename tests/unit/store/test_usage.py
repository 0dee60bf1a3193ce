"""The usage log proves itself: whatever is done to a record, `verify` names the first one that is not as written."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cabinet.records import UsageFilter
from cabinet.store import residents, usage
from cabinet.store.database import Database
from cabinet.store.usage import BadRecord, Verified
from cabinet_testing.usage_records import body, record, rewrite


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Five records, and no triggers: here sits somebody who means to change the log."""
    database = Database(tmp_path / "cabinet.db")
    with database.transaction() as connection:
        for number in range(1, 6):
            usage.append(connection, record(f"s{number}", 1000 * number))
        for trigger in ("usage_stays", "usage_kept"):
            connection.execute(f"DROP TRIGGER {trigger}")
    yield database
    database.close()


def swap(connection: sqlite3.Connection, one: int, other: int) -> None:
    for number, parked in ((one, -1), (other, one), (-1, other)):
        connection.execute("UPDATE usage_record SET number = ? WHERE number = ?", (parked, number))


def test_numbers_have_no_gap_and_each_record_holds_the_hash_of_the_one_before(database: Database) -> None:
    with database.reading() as connection:
        records = list(usage.found(connection, UsageFilter(), 10))
        assert usage.verify(connection) == Verified(5, None)
    assert [each.number for each in records] == [1, 2, 3, 4, 5]
    assert [each.previous_hash for each in records] == ["0" * 64, *(each.record_hash for each in records[:-1])]


def test_the_hash_is_sha256_of_the_sorted_json_without_itself_and_the_card(database: Database) -> None:
    with database.reading() as connection:
        (first,) = list(usage.found(connection, UsageFilter(), 1))
    fields = json.loads(msgspec.json.encode(first))
    del fields["record_hash"], fields["card"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == first.record_hash


def test_card_is_shown_masked_until_its_resident_is_erased(tmp_path: Path) -> None:
    database = Database(tmp_path / "cabinet.db")
    with database.transaction() as connection:
        who = residents.add(connection, "10023344", "", "hash", 0)
        holder = residents.holder_of(connection, who)
        usage.append(connection, msgspec.structs.replace(record("s1"), holder=holder))
        assert [each.card for each in list(usage.found(connection, UsageFilter(), 9))] == ["****3344"]
        residents.erase(connection, who)
        assert [each.card for each in list(usage.found(connection, UsageFilter(), 9))] == [""]
        assert usage.verify(connection) == Verified(1, None)
        assert "3344" not in body(connection, 1)
    database.close()


def test_record_of_before_there_were_holders_is_read_and_verified_as_it_was(tmp_path: Path) -> None:
    database = Database(tmp_path / "cabinet.db")
    with database.transaction() as connection:
        usage.append(connection, msgspec.structs.replace(record("s1"), holder=""))
        assert '"card":"****3344"' in body(connection, 1)
        assert "holder" not in body(connection, 1)
        assert [each.card for each in list(usage.found(connection, UsageFilter(), 9))] == ["****3344"]
        assert usage.verify(connection) == Verified(1, None)
    database.close()


TAMPERINGS: list[tuple[str, Callable[[sqlite3.Connection], object], Verified]] = [
    (
        "a charge laid at another's door",
        lambda c: c.execute("UPDATE usage_record SET holder = 'c3d4' WHERE number = 2"),
        Verified(1, BadRecord(2, "edited: its columns differ from its contents")),
    ),
    (
        "a sum edited",
        lambda c: c.execute("UPDATE usage_record SET body = replace(body, '481', '491') WHERE number = 3"),
        Verified(2, BadRecord(3, "edited: its contents do not give its hash")),
    ),
    (
        "a record edited and hashed anew",
        lambda c: rewrite(c, 3, total_fen=9),
        Verified(3, BadRecord(4, "edited: it does not follow from the record before it, one of the two was replaced")),
    ),
    (
        "the last record edited and hashed anew",
        lambda c: rewrite(c, 5, total_fen=9),
        Verified(4, BadRecord(5, "edited: it is not the last record that was written")),
    ),
    (
        "a record dropped from the middle",
        lambda c: c.execute("DELETE FROM usage_record WHERE number = 2"),
        Verified(1, BadRecord(2, "dropped: there is no such record")),
    ),
    (
        "the first record dropped",
        lambda c: c.execute("DELETE FROM usage_record WHERE number = 1"),
        Verified(0, BadRecord(1, "dropped: there is no such record")),
    ),
    (
        "records cut off the end",
        lambda c: c.execute("DELETE FROM usage_record WHERE number > 3"),
        Verified(3, BadRecord(4, "dropped: the log ends before it, and had 5 records")),
    ),
    (
        "everything dropped",
        lambda c: c.execute("DELETE FROM usage_record"),
        Verified(0, BadRecord(1, "dropped: the log ends before it, and had 5 records")),
    ),
    (
        "two records swapped",
        lambda c: swap(c, 2, 4),
        Verified(1, BadRecord(2, "reordered: it was written as number 4")),
    ),
    (
        "a record put in at the end",
        lambda c: c.execute(
            "INSERT INTO usage_record SELECT 6, 's6', 6000, replace(body, 's5', 's6'), record_hash, holder"
            " FROM usage_record WHERE number = 5"
        ),
        Verified(5, BadRecord(6, "edited: its contents do not give its hash")),
    ),
    (
        "a column changed to hide a record from an export",
        lambda c: c.execute("UPDATE usage_record SET ended_unix_ms = 0 WHERE number = 4"),
        Verified(3, BadRecord(4, "edited: its columns differ from its contents")),
    ),
    (
        "contents that are no record at all",
        lambda c: c.execute(
            "UPDATE usage_record SET body = 'x', record_hash = ? WHERE number = 1", (hashlib.sha256(b"x").hexdigest(),)
        ),
        Verified(0, BadRecord(1, "edited: its contents are no JSON")),
    ),
]


@pytest.mark.parametrize(("tamper", "found"), [row[1:] for row in TAMPERINGS], ids=[row[0] for row in TAMPERINGS])
def test_verify_names_the_first_bad_record(
    database: Database, tamper: Callable[[sqlite3.Connection], object], found: Verified
) -> None:
    with database.transaction() as connection:
        tamper(connection)
    with database.reading() as connection:
        assert usage.verify(connection) == found


def test_a_record_chained_on_by_hand_is_found_by_the_head(database: Database) -> None:
    with database.transaction() as connection:
        head = connection.execute("SELECT number, record_hash FROM usage_head").fetchone()
        usage.append(connection, record("s6", 6000))
        connection.execute("UPDATE usage_head SET number = ?, record_hash = ?", tuple(head))
    with database.reading() as connection:
        assert usage.verify(connection) == Verified(5, BadRecord(6, "inserted: the log had 5 records"))


@pytest.mark.parametrize("statement", ["DELETE FROM usage_record", "UPDATE usage_record SET body = ''"])
def test_the_program_itself_cannot_change_what_is_written(tmp_path: Path, statement: str) -> None:
    database = Database(tmp_path / "cabinet.db")
    with database.transaction() as connection:
        usage.append(connection, record("s1"))
    with pytest.raises(Exception, match="a usage record is never"), database.transaction() as connection:
        connection.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "numbers"),
    [
        (None, None, [1, 2, 3, 4, 5]),
        (2000, None, [2, 3, 4, 5]),
        (None, 2000, [1]),
        (2000, 4000, [2, 3]),
        (9000, None, []),
    ],
    ids=["all", "from, included", "to, excluded", "both", "none"],
)
def test_export_takes_records_by_their_end(
    database: Database, from_ms: int | None, to_ms: int | None, numbers: list[int]
) -> None:
    with database.reading() as connection:
        found = usage.found(connection, UsageFilter(from_unix_ms=from_ms, to_unix_ms=to_ms))
        assert [each.number for each in found] == numbers


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (UsageFilter(after=3), [4, 5]),
        (UsageFilter(outlet=3, after=4), [5]),
        (UsageFilter(outlet=4), []),
        (UsageFilter(holder="a1b2", from_unix_ms=4000), [4, 5]),
        (UsageFilter(holder="nobody"), []),
    ],
)
def test_records_are_found_by_outlet_and_holder(database: Database, wanted: UsageFilter, numbers: list[int]) -> None:
    with database.reading() as connection:
        assert [each.number for each in usage.found(connection, wanted)] == numbers
        assert len(list(usage.found(connection, wanted, limit=1))) == min(1, len(numbers))
        assert [each.energy_mwh for each in usage.figures_of(connection, wanted)] == [150_000] * len(numbers)


def test_an_empty_log_is_unbroken(tmp_path: Path) -> None:
    database = Database(tmp_path / "cabinet.db")
    with database.reading() as connection:
        assert usage.verify(connection) == Verified(0, None)
        assert list(usage.found(connection, UsageFilter(), 10)) == []
    database.close()
