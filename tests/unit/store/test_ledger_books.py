"""The ledger's books in SQLite behave as the ledger asks, and `check` finds what a careless hand does to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.errors import StoreError
from cabinet.store import ledger_books
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks

NOW = WallTime(1000, True)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "cabinet.db")
    with database.transaction() as connection:
        ledger.post(SqliteBooks(connection, NOW), ledger.top_up("r1", 1, 2000))
        ledger.post(SqliteBooks(connection, NOW), ledger.hold("s1", 1, 500))
    yield database
    database.close()


def balances(database: Database) -> dict[str, int]:
    with database.reading() as connection:
        assert ledger_books.check(connection) == []
        return {row["name"]: row["balance_fen"] for row in connection.execute("SELECT * FROM account")}


def test_balances_follow_the_postings(database: Database) -> None:
    assert balances(database) == {"cash": -2000, "hold:s1": 500, "wallet:1": 1500}


def test_settling_twice_moves_money_once(database: Database) -> None:
    for expected in (True, False):
        with database.transaction() as connection:
            assert ledger.post(SqliteBooks(connection, NOW), ledger.settle("s1", 1, 500, 8, 24)) is expected
    assert balances(database) == {
        "cash": -2000,
        "hold:s1": 0,
        "revenue:electricity": 8,
        "revenue:service": 24,
        "wallet:1": 1968,
    }


def test_an_overdraft_leaves_everything_as_it_was(database: Database) -> None:
    before = balances(database)
    with pytest.raises(ledger.Overdrawn), database.transaction() as connection:
        ledger.post(SqliteBooks(connection, NOW), ledger.hold("s2", 1, 1501))
    assert balances(database) == before


def test_the_file_itself_refuses_a_negative_balance(database: Database) -> None:
    with pytest.raises(StoreError, match="CHECK constraint failed"), database.transaction() as connection:
        connection.execute("UPDATE account SET balance_fen = -1 WHERE name = 'wallet:1'")


@pytest.mark.parametrize("statement", ["DELETE FROM posting", "UPDATE posting SET amount_fen = 1"])
def test_postings_stay_as_they_were_made(database: Database, statement: str) -> None:
    with pytest.raises(StoreError, match="a posting is never"), database.transaction() as connection:
        connection.execute(statement)


def test_check_names_an_account_whose_balance_does_not_follow(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("UPDATE account SET balance_fen = 1600 WHERE name = 'wallet:1'")
        assert ledger_books.check(connection) == ["account wallet:1: balance 1600 fen, its postings add up to 1500"]


def test_check_names_a_transaction_that_does_not_balance(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO ledger_transaction (key, kind, unix_ms, trusted) VALUES ('x', 'x', 0, 1)")
        connection.execute("INSERT INTO posting SELECT id, 'wallet:1', 5 FROM ledger_transaction WHERE key = 'x'")
        connection.execute("UPDATE account SET balance_fen = 1505 WHERE name = 'wallet:1'")
        assert ledger_books.check(connection) == ["transaction x: its postings add up to 5 fen"]
