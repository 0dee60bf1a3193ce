"""The SQLite file: transactions, a full disk, migrations."""

import sqlite3
from pathlib import Path

import pytest

from cabinet.errors import StorageFull, StoreError
from cabinet.store.database import Database, check_version, migrate, statements, steps

FIRST = (1, "0001_one.sql", "CREATE TABLE one (x INTEGER) STRICT;\nINSERT INTO one VALUES (1);")
SECOND = (2, "0002_two.sql", "-- a comment; with a semicolon\nCREATE TABLE two (y TEXT) STRICT;\nUPDATE one SET x = 2;")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cabinet.db"


def names(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM resident ORDER BY name")
    return [row["name"] for row in rows]


def add(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "INSERT INTO resident (card, name, pin_hash, added_unix_ms) VALUES (?, ?, 'hash', 0)", (name, name)
    )


def add_and_fail(database: Database) -> None:
    with database.transaction() as connection:
        add(connection, "a")
        raise ZeroDivisionError


def add_in_a_nested_one(database: Database) -> None:
    with database.transaction() as connection:
        add(connection, "a")
        with database.transaction():
            add(connection, "b")


def add_many(database: Database) -> None:
    with database.transaction() as connection:
        for number in range(10_000):
            add(connection, f"resident {number}")


def seen_by_a_fresh_connection(path: Path) -> list[str]:
    database = Database(path, read_only=True)
    try:
        with database.reading() as connection:
            return names(connection)
    finally:
        database.close()


def test_what_a_transaction_committed_is_there_for_everybody(path: Path) -> None:
    database = Database(path)
    with database.transaction() as connection:
        add(connection, "a")
        add(connection, "b")
    assert seen_by_a_fresh_connection(path) == ["a", "b"]
    database.close()


def test_an_error_inside_leaves_nothing_and_comes_out_as_it_is(path: Path) -> None:
    database = Database(path)
    with pytest.raises(ZeroDivisionError):
        add_and_fail(database)
    assert seen_by_a_fresh_connection(path) == []
    with database.transaction() as connection:
        add(connection, "b")
    assert seen_by_a_fresh_connection(path) == ["b"]
    database.close()


def test_transactions_are_not_nested(path: Path) -> None:
    database = Database(path)
    with pytest.raises(StoreError, match="within a transaction"):
        add_in_a_nested_one(database)
    assert seen_by_a_fresh_connection(path) == []
    database.close()


def test_money_settings_are_on(path: Path) -> None:
    database = Database(path)
    pragmas = [
        database.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert pragmas == ["wal", 2, 1]
    database.close()


def fill_up(database: Database) -> None:
    """Keep the file from growing by a page: SQLite itself reports SQLITE_FULL, as on a full disk."""
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_keeps_nothing_of_the_transaction_and_the_file_stays_good(path: Path) -> None:
    database = Database(path)
    with database.transaction() as connection:
        add(connection, "before")
    fill_up(database)
    with pytest.raises(StorageFull, match="free some space on its disk"):
        add_many(database)
    assert seen_by_a_fresh_connection(path) == ["before"]
    database.connection.execute("PRAGMA max_page_count = 100000")
    with database.transaction() as connection:
        add(connection, "after")
    assert seen_by_a_fresh_connection(path) == ["after", "before"]
    assert database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()


def test_a_file_that_is_no_database_is_said_in_one_line(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match="file is not a database"):
        Database(path)


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open database file"):
        Database(tmp_path / "nowhere" / "cabinet.db")


def test_reading_does_not_write(path: Path) -> None:
    Database(path).close()
    database = Database(path, read_only=True)
    with pytest.raises(StoreError, match="readonly"), database.reading() as connection:
        add(connection, "a")
    database.close()


def bare(path: Path) -> Database:
    """A database object over an empty file, without our own migrations."""
    database = Database.__new__(Database)
    database.path = path
    database.connection = sqlite3.connect(path, isolation_level=None)
    database.connection.row_factory = sqlite3.Row
    return database


def test_migrations_run_in_order_and_once(path: Path) -> None:
    database = bare(path)
    assert migrate(database, [FIRST]) == 1
    assert migrate(database, [FIRST, SECOND]) == 2
    assert migrate(database, [FIRST, SECOND]) == 2
    assert [tuple(row) for row in database.connection.execute("SELECT * FROM one")] == [(2,)]
    recorded = database.connection.execute("SELECT version, name FROM schema_migration").fetchall()
    assert [tuple(row) for row in recorded] == [(1, "0001_one.sql"), (2, "0002_two.sql")]
    database.close()


def test_a_migration_that_fails_leaves_the_schema_of_the_one_before(path: Path) -> None:
    database = bare(path)
    broken = (2, "0002_two.sql", "CREATE TABLE two (y TEXT) STRICT;\nUPDATE one SET z = 2;")
    with pytest.raises(StoreError, match="no such column: z"):
        migrate(database, [FIRST, broken])
    tables = {row[0] for row in database.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"one", "schema_migration"}
    assert check_version(database, [FIRST]) == 1
    assert migrate(database, [FIRST, SECOND]) == 2
    database.close()


def test_a_file_of_a_newer_program_is_refused_and_left_alone(path: Path) -> None:
    database = bare(path)
    migrate(database, [FIRST, SECOND])
    before = database.connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(StoreError, match=r"made by a newer program \(schema 2, this one knows 1\)"):
        migrate(database, [FIRST])
    assert database.connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
    database.close()


def test_a_reader_does_not_bring_an_older_file_up_to_date(path: Path) -> None:
    database = bare(path)
    migrate(database, [FIRST])
    with pytest.raises(StoreError, match="schema 1 is older than 2: start `cabinet serve` once"):
        check_version(database, [FIRST, SECOND])
    database.close()


def test_packaged_migrations_are_numbered_upwards(path: Path) -> None:
    versions = [version for version, _, _ in steps()]
    assert versions == sorted(set(versions))
    assert versions[0] == 1
    Database(path).close()
    Database(path).close()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        ("-- only a comment\n", []),
        ("SELECT 1;\nSELECT\n 2;\n", ["SELECT 1;\n", "SELECT\n 2;\n"]),
        (
            "CREATE TRIGGER t BEFORE UPDATE ON x\nBEGIN SELECT 1; END;\nSELECT 2;",
            ["CREATE TRIGGER t BEFORE UPDATE ON x\nBEGIN SELECT 1; END;\n", "SELECT 2;"],
        ),
    ],
    ids=["nothing", "comment", "two statements", "a trigger holds semicolons"],
)
def test_a_script_is_taken_apart_into_statements(script: str, expected: list[str]) -> None:
    assert list(statements(script)) == expected


def test_a_script_that_ends_in_the_middle_is_refused() -> None:
    with pytest.raises(StoreError, match="ends inside a statement: SELECT"):
        list(statements("SELECT 1"))
