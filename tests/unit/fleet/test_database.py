"""Migrations: once, in order, one process at a time, and never over a newer schema. And fleet.toml, checked."""

import asyncio
import contextlib

import psycopg
import pytest

from cabinet.errors import ConfigErrors, StoreError
from fleet import config
from fleet.store import database
from fleet.store.database import SchemaError

FIRST = [(1, "0001_first.sql", "CREATE TABLE thing (id INT)")]
SECOND = [*FIRST, (2, "0002_second.sql", "ALTER TABLE thing ADD name TEXT; INSERT INTO thing VALUES (1, 'a')")]


@pytest.fixture
def empty(postgres):
    """Address of a database without any table."""
    url = postgres.empty()
    yield url
    postgres.drop(url)


def test_two_processes_that_migrate_at_once_apply_each_step_once(empty, run):
    async def both():
        return await asyncio.gather(*(database.migrate(empty, known=SECOND) for _ in range(4)))

    assert sorted(map(len, run(both()))) == [0, 0, 0, 2]
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT * FROM thing").fetchall() == [(1, "a")]


def test_a_step_that_fails_changes_nothing_of_it(empty, run):
    broken = [*FIRST, (2, "0002_broken.sql", "ALTER TABLE thing ADD name TEXT; SELECT 1 / 0")]
    with pytest.raises(SchemaError, match=r"0002_broken\.sql: division by zero"):
        run(database.migrate(empty, known=broken))
    assert run(database.migrate(empty, known=SECOND)) == ["0002_second.sql"]


def test_a_table_in_use_ends_the_migration_instead_of_stopping_everything(empty, run):
    run(database.migrate(empty, known=FIRST))
    with psycopg.connect(empty) as connection:
        connection.execute("SELECT * FROM thing")  # an open transaction: the table is in use
        with pytest.raises(SchemaError, match="lock timeout"):
            run(database.migrate(empty, 0.1, known=SECOND))
    assert run(database.migrate(empty, known=SECOND)) == ["0002_second.sql"]


def test_a_newer_schema_is_refused_and_an_older_one_names_the_command(empty, run):
    run(database.migrate(empty, known=SECOND))
    with pytest.raises(SchemaError, match="schema 2; this program knows 1"):
        run(database.migrate(empty, known=FIRST))

    async def open_pool():
        async with database.pool(empty, 1):
            raise AssertionError

    with psycopg.connect(empty) as connection:
        connection.execute("DELETE FROM schema_migration")
    with pytest.raises(SchemaError, match="run `fleet migrate`"):
        run(open_pool())


def test_a_database_that_is_not_there_is_one_line(run):
    with pytest.raises(StoreError, match="database: ") as refused:
        run(database.connect("postgresql:///x?host=/nonexistent"))
    assert "\n" not in str(refused.value)


def test_a_connection_that_was_read_from_begins_transactions_again(url, run):
    async def body():
        async with database.pool(url, 1) as pool:
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with database.reading(pool) as connection:
                    await connection.execute("SELECT 1 / 0")
            async with database.reading(pool) as connection:
                await connection.execute("SELECT 1")
                assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
            with contextlib.suppress(KeyError):
                async with pool.connection() as connection:
                    await connection.execute("INSERT INTO company (name) VALUES ('half')")
                    raise KeyError
            async with database.reading(pool) as connection:
                cursor = await connection.execute("SELECT count(*) FROM company")
                assert await cursor.fetchall() == [(0,)]

    run(body())


GOOD = '[database]\nurl = "postgresql:///fleet"\n[web]\npublic_url = "https://a.example"\n'


def test_paths_of_fleet_toml_are_taken_from_its_folder(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    found = config.load(path)
    assert found.trust.folder == str(tmp_path / "trust")
    assert found.broker.ca == str(tmp_path / "trust/ca.pem")
    path.write_text(GOOD + '[trust]\nfolder = "/var/lib/fleet/trust"\n[broker]\ncertificate = "own.pem"\n')
    found = config.load(path)
    assert (found.broker.ca, found.broker.key) == ("/var/lib/fleet/trust/ca.pem", "/var/lib/fleet/trust/fleet.key")
    assert found.broker.certificate == str(tmp_path / "own.pem")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("", "database: is missing"),
        (GOOD + "[brokr]\n", "brokr: unknown key; did you mean broker?"),
        (GOOD + "[broker]\nport = 0\n", "broker.port: "),
        (GOOD + '[broker]\nkey = ""\n', "broker.key: certificate and key belong together"),
        (GOOD + "[orders]\nminimum_hold_fen = 900\n", "orders.minimum_hold_fen: is above orders.full_hold_fen"),
        (GOOD + '[sms]\nprovider = "pigeon"\n', "sms.provider: "),
        (GOOD.replace("https://a.example", "a.example"), "web.public_url: "),
        ("[", "file: not valid TOML"),
    ],
)
def test_every_mistake_of_fleet_toml_is_named_with_its_key(wrong, named):
    with pytest.raises(ConfigErrors) as refused:
        config.parse(wrong)
    assert named in str(refused.value)
