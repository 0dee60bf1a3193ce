"""Rows of a query as values, with columns and fields under the same names; and conditions of a filter."""

import sqlite3
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from cabinet import normal_form

T = TypeVar("T")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def number(connection: sqlite3.Connection, sql: str, *values: object) -> int:
    """Return the number in the only row and column of the result."""
    return int(connection.execute(sql, values).fetchone()[0])


def one(connection: sqlite3.Connection, kind: type[T], sql: str, *values: object) -> T | None:
    """Return the first row; None if there is none. Columns that `kind` does not have are left out."""
    row = connection.execute(sql, values).fetchone()
    return None if row is None else msgspec.convert(dict(row), kind, strict=False)


def many(connection: sqlite3.Connection, kind: type[T], sql: str, *values: object) -> list[T]:
    """Return all rows, as `one`."""
    return [msgspec.convert(dict(row), kind, strict=False) for row in connection.execute(sql, values)]


def by_spelling(named: Sequence[N], name: str) -> N | None:
    """Return the row of this login name, in any spelling; if several are alike, the one with this exact spelling."""
    alike = [row for row in named if normal_form.login_name(row.name) == normal_form.login_name(name)]
    if len(alike) > 1:
        alike = [row for row in alike if row.name in (name, normal_form.text(name))]
    return alike[0] if alike else None


def where(*conditions: tuple[str, object]) -> tuple[str, Sequence[object]]:
    """Return the conditions that have a value as SQL, and their values; a condition with None does not apply."""
    used = [(condition, value) for condition, value in conditions if value is not None]
    return " AND ".join(["1", *(condition for condition, _ in used)]), [value for _, value in used]
