"""PostgreSQL: the pool of connections, and the migration of the schema by numbered files."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Collection
from importlib import resources

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool

from cabinet.errors import CabinetError, StoreError

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

OPEN_TIMEOUT_S = 10.0
MIGRATION_LOCK = 0x666C_6565_7401  # advisory lock of the database: one process migrates, the others wait for it
WORKER_LOCK = 0x666C_6565_7402  # held by the worker that works; the standby waits for it


class SchemaError(StoreError):
    """The schema is newer or older than this program, or a migration failed."""


def is_passing(error: Exception) -> bool:
    """Return whether the same statements may succeed later: the database is away, full, read-only, or had a deadlock.

    Not if the values are beyond a limit of PostgreSQL, as a text that is too long for an index: for psycopg that is
    an OperationalError too, and a read-only database is none.
    """
    if isinstance(error, psycopg.errors.ProgramLimitExceeded):
        return False
    return isinstance(error, psycopg.OperationalError | psycopg.errors.ReadOnlySqlTransaction)


async def connect(url: str, *, autocommit: bool = False) -> Connection:
    """Open one connection. Raises StoreError."""
    try:
        return await AsyncConnection.connect(
            url, autocommit=autocommit, connect_timeout=int(OPEN_TIMEOUT_S), row_factory=tuple_row
        )
    except psycopg.OperationalError as error:
        raise StoreError(f"database: {' '.join(str(error).split())}") from error


@contextlib.asynccontextmanager
async def pool(url: str, size: int = 10, *, least: int = 1) -> AsyncIterator[Pool]:
    """Open a pool of at most `size` connections; each block of `pool.connection()` is one transaction.

    Raises StoreError if the database cannot be reached, and SchemaError if its schema is not this program's.
    """
    async with await connect(url) as connection:
        await check_version(connection)
    opened: Pool = AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[TupleRow],
        min_size=least,
        max_size=size,
        open=False,
        timeout=OPEN_TIMEOUT_S,
    )
    try:
        await opened.open(wait=True, timeout=OPEN_TIMEOUT_S)
        yield opened
    finally:
        await opened.close()


async def end_listeners(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: in Python 3.11, psycopg's wait for a notice may lose a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


@contextlib.asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator[Connection]:
    """Give a connection for statements that only read, or write alone: each is a transaction of its own.

    Without BEGIN and COMMIT a page waits for the database a third as often.
    """
    async with pool.connection() as connection:
        await connection.set_autocommit(True)
        try:
            yield connection
        finally:
            if not connection.closed:
                await connection.set_autocommit(False)


@functools.cache
def steps() -> list[tuple[int, str, str]]:
    """Return the migrations in order: version, file name, SQL."""
    folder = resources.files("fleet.store.migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files]


async def migrate(url: str, lock_timeout_s: float = 10.0, known: list[tuple[int, str, str]] | None = None) -> list[str]:
    """Apply the missing migrations, each in one transaction with its record; return their file names.

    A second process that migrates meanwhile waits, and then finds nothing to do. Raises SchemaError if the schema is
    newer than this program, or a table stays in use for longer than `lock_timeout_s`; the failed step changed nothing.
    """
    known = steps() if known is None else known
    done: list[str] = []
    connection = await connect(url, autocommit=True)
    async with connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration"
            " (version INT PRIMARY KEY, name TEXT NOT NULL, applied TIMESTAMPTZ NOT NULL DEFAULT now())"
        )
        present = await version_of(connection)
        _refuse_newer(present, known)
        for version, name, sql in known:
            if version <= present:
                continue
            try:
                async with connection.transaction():
                    await connection.execute(
                        "SELECT set_config('lock_timeout', %s, TRUE)", (f"{round(lock_timeout_s * 1000)}ms",)
                    )
                    await connection.execute(sql.encode())
                    await connection.execute(
                        "INSERT INTO schema_migration (version, name) VALUES (%s, %s)", (version, name)
                    )
            except psycopg.Error as error:
                raise SchemaError(f"{name}: {' '.join(str(error).split())}; nothing of it was changed") from error
            done.append(name)
    return done


async def version_of(connection: Connection) -> int:
    """Return the version of the schema; 0 for an empty database."""
    cursor = await connection.execute("SELECT to_regclass('schema_migration') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return 0
    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM schema_migration")
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def check_version(connection: Connection) -> int:
    """Return the version of the schema. Raises SchemaError unless it is exactly the newest one of this program."""
    present, newest = await version_of(connection), steps()[-1][0]
    _refuse_newer(present, steps())
    if present < newest:
        raise SchemaError(f"the database has schema {present}, this program needs {newest}: run `fleet migrate`")
    return present


def _refuse_newer(present: int, known: list[tuple[int, str, str]]) -> None:
    newest = known[-1][0]
    if present > newest:
        raise SchemaError(f"the database has schema {present}; this program knows {newest} at most: update it")


class NotFound(CabinetError):
    """A row that does not exist, or belongs to another company: both are the same to a caller."""
