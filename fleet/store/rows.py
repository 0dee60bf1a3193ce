"""Rows of queries as values."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from psycopg.rows import class_row

from fleet.store.database import Connection

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]


async def many(connection: Connection, kind: type[T], sql: str, parameters: Parameters = ()) -> list[T]:
    """Return all rows as `kind`; its fields are named like the columns."""
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(sql.encode(), parameters)
        return await cursor.fetchall()


async def one(connection: Connection, kind: type[T], sql: str, parameters: Parameters = ()) -> T | None:
    """Return the first row as `kind`, or None."""
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(sql.encode(), parameters)
        return await cursor.fetchone()


async def stream(
    connection: Connection, kind: type[T], sql: str, parameters: Parameters = (), at_a_time: int = 1000
) -> AsyncIterator[T]:
    """Yield rows as `kind`, fetched `at_a_time`: a million rows need no more memory than a thousand."""
    async with connection.cursor(name="stream", row_factory=class_row(kind)) as cursor:
        cursor.itersize = at_a_time
        await cursor.execute(sql.encode(), parameters)
        async for row in cursor:
            yield row


async def value(connection: Connection, sql: str, parameters: Parameters = ()) -> Any:
    """Return the first column of the first row, or None."""
    cursor = await connection.execute(sql.encode(), parameters)
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def changed(connection: Connection, sql: str, parameters: Parameters = ()) -> int:
    """Execute a statement; return the number of rows that it inserted, changed or deleted."""
    cursor = await connection.execute(sql.encode(), parameters)
    return cursor.rowcount


def like(words: str) -> str:
    """Return `words` for LIKE, without special meaning of its characters."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
