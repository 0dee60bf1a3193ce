"""A database of every earlier schema, with a charge under way in it, opens as one of today's."""

import json
import sqlite3
from pathlib import Path

import pytest

from cabinet.billing.session import State
from cabinet.billing.tariff import Band, Period
from cabinet.errors import StoreError
from cabinet.store import residents, sessions, usage, waiting
from cabinet.store.database import Database, migrate, steps

NEWEST = len(steps())

# What a session of schema 1 held: its tariff had its prices under other names.
TARIFF = {
    "version": "old",
    "bands": [{"from_w": 0, "to_w": None, "fen_per_hour": 20}],
    "periods": [{"start_minute": 0, "end_minute": 1440, "electricity_fen_per_kwh": 55}],
    "service_fen_per_kwh": 30,
}
SEEN = {"boot_id": "boot", "monotonic_ns": 1, "unix_ms": 2, "trusted": True}
USED = {"band_ms": [0], "period_mwh": [0]}


def unprepared(path: Path) -> Database:
    """Opened, and not brought up to date."""
    database = Database.__new__(Database)
    database.path, database.connection = path, sqlite3.connect(path, isolation_level=None)
    database.connection.row_factory = sqlite3.Row
    return database


def of_schema(path: Path, version: int) -> None:
    """Made by the steps up to `version`, with a resident who charges and another who waits."""
    database = unprepared(path)
    migrate(database, steps()[:version])
    tariff = json.dumps(TARIFF, separators=(",", ":"))
    if version >= 3:
        tariff = tariff.replace("_fen_per_kwh", "_fen")
    connection = database.connection
    for card in ("1001", "1002"):
        connection.execute("INSERT INTO resident (card, pin_hash, added_unix_ms) VALUES (?, 'hash', 0)", (card,))
    connection.execute(
        "INSERT INTO session (number, session_id, order_number, request_key, resident_id, card, outlet, code, choice,"
        " choice_amount, held_fen, tariff, state, started_unix_ms, started_trusted, used, seen, curve_step_s)"
        " VALUES (1, 's1', 'O-1', 'k', 1, '*001', 3, 'C5T4', 'hours', 3600, 500, ?, 'charging', 5, 1, ?, ?, 10)",
        (tariff, json.dumps(USED), json.dumps(SEEN)),
    )
    connection.execute(
        "INSERT INTO session_transition (session_id, step, from_state, to_state, boot_id, monotonic_ns, unix_ms,"
        " trusted) VALUES ('s1', 'closed', 'authorised', 'waiting_for_load', 'boot', 1, 2, 1)"
    )
    connection.execute("INSERT INTO curve_point VALUES ('s1', 10, 150)")
    if version >= 2:
        connection.execute(
            "INSERT INTO waiting (number, resident_id, outlet, code, choice, choice_amount, since)"
            " VALUES (1, 2, 4, 'D8R6', 'full', 0, ?)",
            (json.dumps(SEEN),),
        )
    database.close()


def schema(database: Database) -> list[tuple[str, ...]]:
    return [
        tuple(row) for row in database.connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
    ]


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_database_of_every_earlier_schema_opens_with_all_it_held(tmp_path: Path, version: int) -> None:
    path = tmp_path / "cabinet.db"
    of_schema(path, version)
    database = Database(path)
    with database.transaction() as connection:
        row = sessions.by_id(connection, "s1")
        assert row is not None
        assert (row.state, row.choice, row.held_fen) == (State.CHARGING, "hours", 500)
        assert row.tariff.bands == (Band(0, None, 20),)
        assert row.tariff.periods == (Period(0, 1440, 55),)
        assert (row.tariff.service_fen, row.tariff.priced_kwh) == (30, 1)
        assert len(sessions.curve(connection, "s1")) == 1
        assert [resident.group for resident in residents.all_residents(connection)] == ["", ""]
        assert [each.outlet for each in waiting.all_entries(connection)] == ([4] if version >= 2 else [])
        assert usage.verify(connection).bad is None
    fresh = Database(tmp_path / "fresh.db")
    assert schema(database) == schema(fresh), "indexes and triggers came along"
    fresh.close()
    with pytest.raises(StoreError, match="FOREIGN KEY"), database.transaction() as connection:
        connection.execute("INSERT INTO curve_point VALUES ('nobody', 10, 150)")
    database.close()


def test_step_that_leaves_references_to_nothing_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "cabinet.db"
    of_schema(path, NEWEST - 1)
    database = unprepared(path)
    known = [*steps()[: NEWEST - 1], (steps()[-1][0], "last_bad.sql", "DELETE FROM resident;")]
    with pytest.raises(StoreError, match=r"_bad\.sql leaves 2 references to nothing"):
        migrate(database, known)
    assert database.connection.execute("SELECT count(*) FROM resident").fetchone()[0] == 2
    database.close()
