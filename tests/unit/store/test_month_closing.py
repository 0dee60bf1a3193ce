"""Signed closings: a log rewritten as a whole is found by whoever kept one of them."""

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from cabinet import usage_chain
from cabinet.clock import WallTime
from cabinet.errors import StoreError
from cabinet.records import SignedClosing
from cabinet.store import month_closing, usage
from cabinet.store.database import Database
from cabinet_testing.usage_records import record

WALL = WallTime(5000, True)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "cabinet.db")
    add(database, "s1", "s2", "s3")
    yield database
    database.close()


@pytest.fixture
def key(tmp_path: Path):
    return month_closing.load_key(tmp_path / "keys" / "usage.key", make=True)


def add(database: Database, *sessions: str) -> None:
    with database.transaction() as connection:
        for session in sessions:
            usage.append(connection, record(session))


def close(database: Database, key, month: str) -> SignedClosing | None:
    with database.transaction() as connection:
        return month_closing.close(connection, key, "DEMO-1", month, WALL)


def problem(database: Database, signed: SignedClosing, key: str) -> str | None:
    with database.reading() as connection:
        return month_closing.problem_of(connection, signed, key)


def test_key_is_made_once_and_for_its_owner_only(tmp_path: Path, key) -> None:
    path = tmp_path / "keys" / "usage.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert month_closing.public(month_closing.load_key(path)) == month_closing.public(key)
    with pytest.raises(StoreError, match="there is no key yet: start `cabinet serve` once"):
        month_closing.load_key(tmp_path / "elsewhere.key")
    assert not (tmp_path / "elsewhere.key").exists(), "only the service makes one, for itself to read"
    path.write_bytes(b"too short")
    with pytest.raises(StoreError, match="is no key of 32 bytes"):
        month_closing.load_key(path)


def test_key_loaded_by_two_threads_at_once_is_made_once(tmp_path: Path, monkeypatch) -> None:
    path, loaded, other_went_on = tmp_path / "usage.key", [], threading.Event()
    other = threading.Thread(target=lambda: loaded.append(month_closing.load_key(path, make=True)), daemon=True)
    generate = SigningKey.generate

    class ReportingLock:
        """Lock that reports a thread that has to wait."""

        held = threading.Lock()

        def __enter__(self) -> None:
            if not self.held.acquire(blocking=False):
                other_went_on.set()
                self.held.acquire()

        def __exit__(self, *_: object) -> None:
            self.held.release()

    def meanwhile() -> SigningKey:
        """Let the other thread load the key while this one makes it; it waits, or makes a second one."""
        if threading.current_thread() is other:
            other_went_on.set()
        else:
            other.start()
            assert other_went_on.wait(10)
        return generate()

    monkeypatch.setattr(month_closing, "_making", ReportingLock(), raising=False)
    monkeypatch.setattr(SigningKey, "generate", meanwhile)
    key = month_closing.load_key(path, make=True)
    other.join(10)
    assert [bytes(each) for each in loaded] == [bytes(key)]


def test_closings_follow_each_other_without_a_gap(database: Database, key) -> None:
    first = close(database, key, "2026-10")
    assert close(database, key, "2026-11") is None, "nothing new"
    add(database, "s4", "s5")
    second = close(database, key, "2026-11")
    assert first is not None
    assert second is not None
    assert [(s.closing.number, s.closing.first_number, s.closing.last_number) for s in (first, second)] == [
        (1, 1, 3),
        (2, 4, 5),
    ]
    assert (second.closing.energy_mwh, second.closing.service_fen) == (300_000, 38)
    with database.reading() as connection:
        assert list(month_closing.all_signed(connection)) == [first, second]
        assert month_closing.months_closed(connection) == {"2026-10", "2026-11"}
    for signed in (first, second):
        assert problem(database, signed, month_closing.public(key)) is None


def test_closing_ends_with_its_month_and_leaves_the_rest_to_the_next(tmp_path: Path, key) -> None:
    """Closed a day late, or a week: its sums are the month's all the same. A clock that was wrong ends no month."""
    database = Database(tmp_path / "months.db")
    with database.transaction() as connection:
        for session, ended_ms, trusted in (
            ("s1", 100, True), ("s2", 9000, False), ("s3", 199, True), ("s4", 200, True), ("s5", 150, True)
        ):  # fmt: skip
            one = msgspec.structs.replace(record(session), ended=WallTime(ended_ms, trusted))
            usage.append(connection, one)
        first = month_closing.close(connection, key, "DEMO-1", "2026-10", WALL, before_unix_ms=200)
        nothing = month_closing.close(connection, key, "DEMO-1", "2026-11", WALL, before_unix_ms=200)
        rest = month_closing.close(connection, key, "DEMO-1", "2026-11", WALL, before_unix_ms=300)
    assert first is not None
    assert (first.closing.first_number, first.closing.last_number) == (1, 3)
    assert nothing is None
    assert rest is not None
    assert (rest.closing.first_number, rest.closing.last_number) == (4, 5)
    assert problem(database, first, month_closing.public(key)) is None
    database.close()


def test_another_key_than_before_is_said(database: Database, key, tmp_path: Path, caplog) -> None:
    close(database, key, "2026-10")
    add(database, "s4")
    close(database, month_closing.load_key(tmp_path / "other.key", make=True), "2026-11")
    assert "the key of earlier closings is gone: from closing 2 on another one signs" in caplog.text


def test_log_rewritten_as_a_whole_is_found(tmp_path: Path, database: Database, key) -> None:
    kept = close(database, key, "2026-10")
    assert kept is not None
    forged = Database(tmp_path / "forged.db")
    with forged.transaction() as connection:
        for session in ("s1", "s2", "s3"):
            usage.append(connection, msgspec.structs.replace(record(session), total_fen=1))
        assert usage.verify(connection).bad is None, "its chain is whole"
    assert problem(forged, kept, month_closing.public(key)) == (
        "record 3 is another one than was signed: the log was rewritten"
    )
    forged.close()


def test_log_that_ends_before_it_is_found(tmp_path: Path, database: Database, key) -> None:
    kept = close(database, key, "2026-10")
    assert kept is not None
    shorter = Database(tmp_path / "shorter.db")
    add(shorter, "s1")
    assert problem(shorter, kept, month_closing.public(key)) == "the log has no record 3"
    shorter.close()


@pytest.mark.parametrize("change", [{"service_fen": 1}, {"month": "2026-09"}, {"last_number": 2}])
def test_closing_that_was_changed_has_no_signature(database: Database, key, change: dict[str, object]) -> None:
    kept = close(database, key, "2026-10")
    assert kept is not None
    forged = SignedClosing(msgspec.structs.replace(kept.closing, **change), kept.signature)
    assert problem(database, forged, month_closing.public(key)) == "its signature is not of this key"


def test_closing_of_another_key_is_none(tmp_path: Path, database: Database, key) -> None:
    other = month_closing.load_key(tmp_path / "other.key", make=True)
    signed = close(database, other, "2026-10")
    assert signed is not None
    assert problem(database, signed, month_closing.public(key)) == "its signature is not of this key"
    assert problem(database, signed, "no base64!") == "its signature is not of this key"


def test_what_is_signed_is_plain_json_with_its_keys_in_order(database: Database, key) -> None:
    signed = close(database, key, "2026-10")
    assert signed is not None
    fields = json.loads(usage_chain.canonical_closing(signed.closing))
    assert list(fields) == sorted(fields)
    assert fields["last_hash"] == signed.closing.last_hash
