"""Copies of the database: whole, few, and good enough to go on with; and what damage does to a file."""

import os
import stat
from pathlib import Path

import pytest

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.errors import StoreDamaged, StoreError
from cabinet.store import backup, residents, sessions
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks
from cabinet_testing.usage_records import damage

DAY_MS = 86_400_000


def wall(day: int) -> WallTime:
    return WallTime(1_780_000_000_000 + day * DAY_MS, True)


def add(database: Database, card: str) -> None:
    with database.transaction() as connection:
        who = residents.add(connection, card, "", "hash", 0)
        ledger.post(SqliteBooks(connection, wall(0)), ledger.top_up(card, who, 1000))


def cards(path: Path) -> list[str]:
    database = Database(path, read_only=True)
    try:
        with database.reading() as connection:
            return [resident.card for resident in residents.all_residents(connection)]
    finally:
        database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cabinet.db"
    database = Database(path)
    add(database, "1001")
    database.close()
    return path


def test_backup_is_whole_and_has_what_was_committed(path: Path) -> None:
    database = Database(path)
    add(database, "1002")  # still in the write-ahead log
    made = backup.make(path, wall(1))
    database.close()
    assert backup.problems(made) == []
    assert cards(made) == ["1001", "1002"]
    assert [each.name for each in backup.folder_of(path).iterdir()] == [made.name], "nothing half-made is left"


def test_a_backup_is_as_secret_as_the_database(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.make(path, wall(1)).stat().st_mode) == 0o600


def test_a_restored_database_is_secret_whatever_the_backup_was(path: Path) -> None:
    """Every user may be able to read a copy on a stick."""
    made = backup.make(path, wall(1))
    made.chmod(0o644)
    before = os.umask(0)
    try:
        backup.restore(path, made, wall(2))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_transaction_that_is_not_committed_is_not_in_it(path: Path) -> None:
    database = Database(path)
    with database.transaction() as connection:
        residents.add(connection, "1002", "", "hash", 0)
        made = backup.make(path, wall(1))
    database.close()
    assert cards(made) == ["1001"]


def test_seven_are_kept_and_the_oldest_go(path: Path) -> None:
    made = [backup.make(path, wall(day)) for day in range(9)]
    assert backup.backups(path) == made[2:]
    assert backup.newest(path) == made[-1]


def test_order_is_that_of_making_whatever_the_clock_says(path: Path) -> None:
    """A computer without a battery wakes up in 1970, or in the far future, and makes a backup there."""
    made = [backup.make(path, WallTime(at_ms, False)) for at_ms in (10**12, 0, 4 * 10**12, 10**12)]
    assert backup.backups(path) == made
    assert backup.newest(path) == made[-1]


def test_backup_of_before_there_were_numbers_is_the_oldest(path: Path) -> None:
    folder = backup.folder_of(path)
    folder.mkdir()
    old = folder / "cabinet-2027-01-01T00-00-00.db"
    backup.copy_into(path, old)
    made = backup.make(path, wall(1))
    assert backup.backups(path) == [old, made]


def test_starting_over_and_over_leaves_the_backups_of_the_days_before(path: Path) -> None:
    days = [backup.make(path, wall(day)) for day in range(6)]
    today = [backup.make(path, WallTime(wall(6).unix_ms + minute * 60_000, True)) for minute in range(20)]
    assert backup.backups(path) == [*days, today[-1]]


def test_copy_of_before_an_update_outlives_every_start_after_it(path: Path) -> None:
    """The new version backs up at its start: where seven are there, an eighth of the day would push it out."""
    for day in range(7):
        backup.make(path, wall(day))
    before = backup.make_before_update(path)
    add(Database(path), "1002")
    for minute in range(9):
        backup.make(path, WallTime(wall(6).unix_ms + minute * 60_000, True))
    assert cards(before) == ["1001"]
    assert before not in backup.backups(path)
    assert len(backup.backups(path)) == backup.KEPT
    backup.restore(path, before, wall(6))
    assert cards(path) == ["1001"]


def test_next_update_replaces_the_copy_of_the_one_before(path: Path) -> None:
    backup.make_before_update(path)
    add(Database(path), "1002")
    before = backup.make_before_update(path)
    assert cards(before) == ["1001", "1002"]
    assert list(backup.folder_of(path).iterdir()) == [before]
    assert stat.S_IMODE(before.stat().st_mode) == 0o600


def test_what_a_killed_backup_left_is_taken_away(path: Path) -> None:
    made = backup.make(path, wall(1))
    part = made.with_name("cabinet-000009-2026-01-01T00-00-00.part")
    part.write_bytes(b"half")
    backup.make(path, wall(2))
    assert not part.exists()


def test_no_room_is_said_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "ROOM", 1e12)
    with pytest.raises(StoreError, match="no room for a backup"):
        backup.make(path, wall(1))
    assert backup.backups(path) == []


def test_restored_file_has_what_the_backup_had_and_what_was_there_is_kept(path: Path) -> None:
    made = backup.make(path, wall(1))
    database = Database(path)
    add(database, "1002")
    database.close()
    kept = backup.restore(path, made, wall(2))
    assert kept is not None
    assert (cards(path), cards(kept)) == (["1001"], ["1001", "1002"])
    assert backup.problems(path) == []


def test_order_numbers_go_on_above_all_that_may_have_been_given_out(path: Path) -> None:
    made = backup.make(path, wall(1))
    for time in (2, 3):
        backup.restore(path, made, wall(time))
        database = Database(path, read_only=True)
        with database.reading() as connection:
            assert sessions.next_number(connection) == 1 + backup.NUMBERS_LEFT_OUT
        database.close()


def test_log_beside_a_damaged_file_goes_with_it(path: Path) -> None:
    """The write-ahead log of one database must never be read into another."""
    made = backup.make(path, wall(1))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).write_bytes(b"of the old one")
    kept = backup.restore(path, made, wall(2))
    assert kept is not None
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"of the old one"
    assert cards(path) == ["1001"]


@pytest.mark.parametrize("moved", [1, 2, 3], ids=["the database", "its log too", "all of it"])
def test_restore_that_is_cut_off_begins_no_empty_database_and_can_be_done_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    made = backup.make(path, wall(1))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).write_bytes(b"of the old one")
    replace, calls = Path.replace, []

    def cut(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > moved:
            raise OSError(5, "power gone")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(StoreError):
        backup.restore(path, made, wall(2))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="a restore of it was interrupted: run `cabinet store restore` again"):
        backup.check_not_half_restored(path)
    backup.restore(path, made, wall(3))
    backup.check_not_half_restored(path)
    assert cards(path) == ["1001"]
    assert backup.problems(path) == []


def test_backup_that_is_not_whole_is_not_restored(path: Path) -> None:
    made = backup.make(path, wall(1))
    damage(made)
    with pytest.raises(StoreError, match="is not whole"):
        backup.restore(path, made, wall(2))
    assert cards(path) == ["1001"]


def test_damaged_page_is_found(path: Path) -> None:
    database = Database(path)
    for number in range(300):
        add(database, f"card-{number}")
    database.close()
    assert backup.problems(path) == []
    damage(path, 20)
    assert backup.problems(path, thorough=False) != []
    assert backup.problems(path) != []


def test_balance_written_by_hand_is_found(path: Path) -> None:
    database = Database(path)
    with database.transaction() as connection:
        connection.execute("UPDATE account SET balance_fen = 1 WHERE name = 'wallet:1'")
    database.close()
    assert backup.problems(path) == ["account wallet:1: balance 1 fen, its postings add up to 1000"]


@pytest.mark.parametrize("text", [b"", b"no database at all, but long enough to be looked at" * 100])
def test_what_is_no_database_is_damaged(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "cabinet.db"
    path.write_bytes(text)
    if text:
        with pytest.raises(StoreDamaged, match="cabinet store restore"):
            Database(path)
    assert backup.problems(path) != []


def test_only_one_process_has_it(path: Path) -> None:
    with (
        backup.exclusive_lock(path),
        pytest.raises(StoreError, match="the service is running"),
        backup.exclusive_lock(path),
    ):
        pass
    with backup.exclusive_lock(path):
        pass


def test_another_medium_keeps_seven_of_its_own(path: Path, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    backup.make(path, wall(0))
    for day in range(9):
        backup.make(path, wall(day), medium)
    assert len(backup.backups_in(medium)) == backup.KEPT
    assert len(backup.backups(path)) == 1
    assert cards(backup.backups_in(medium)[-1]) == ["1001"]


def test_what_goes_along_is_private_and_replaces_what_was_there(tmp_path: Path) -> None:
    medium, key = tmp_path / "medium", tmp_path / "usage.key"
    medium.mkdir()
    (medium / key.name).write_text("old")
    key.write_text("new")
    key.chmod(0o640)
    backup.copy_beside([key], medium)
    assert [(file.name, file.read_text(), stat.S_IMODE(file.stat().st_mode)) for file in medium.iterdir()] == [
        ("usage.key", "new", 0o600)
    ]
