"""Sign-ins and API tokens in the database. Runs inside the caller's transaction.

Both are random tokens, stored as SHA-256 only.
"""

import hashlib
import sqlite3
from typing import Literal

import msgspec

from cabinet.store import rows


class LoginRow(msgspec.Struct, frozen=True):
    who: int  # id of the resident or of the member of staff
    used_unix_ms: int


class TokenRow(msgspec.Struct, frozen=True):
    name: str
    scopes: tuple[str, ...]
    expires_unix_ms: int


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token; it is enough for a token of 256 random bits, which cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def add_login(
    connection: sqlite3.Connection,
    kind: Literal["resident", "staff"],
    who: int,
    token: str,
    now_unix_ms: int,
    expires_unix_ms: int,
) -> None:
    connection.execute(
        f"INSERT INTO login (token_hash, {kind}_id, used_unix_ms, expires_unix_ms) VALUES (?, ?, ?, ?)",
        (token_hash(token), who, now_unix_ms, expires_unix_ms),
    )


def keep_newest_logins(
    connection: sqlite3.Connection, kind: Literal["resident", "staff"], who: int, count: int
) -> None:
    """Delete all sign-ins except the `count` most recently used: repeated sign-in must not fill the disk."""
    connection.execute(
        f"DELETE FROM login WHERE {kind}_id = ? AND token_hash NOT IN"
        f" (SELECT token_hash FROM login WHERE {kind}_id = ? ORDER BY used_unix_ms DESC LIMIT ?)",
        (who, who, count),
    )


def login(
    connection: sqlite3.Connection, kind: Literal["resident", "staff"], token: str, now_unix_ms: int, idle_ms: int
) -> LoginRow | None:
    """Return the sign-in with `token`, or None; if a sign-in is not used for `idle_ms`, it expires."""
    row = connection.execute(
        f"SELECT {kind}_id AS who, used_unix_ms FROM login"
        " WHERE token_hash = ? AND expires_unix_ms > ? AND used_unix_ms > ?",
        (token_hash(token), now_unix_ms, now_unix_ms - idle_ms),
    ).fetchone()
    return None if row is None or row["who"] is None else LoginRow(row["who"], row["used_unix_ms"])


def use_login(connection: sqlite3.Connection, token: str, now_unix_ms: int) -> None:
    connection.execute("UPDATE login SET used_unix_ms = ? WHERE token_hash = ?", (now_unix_ms, token_hash(token)))


def remove_login(connection: sqlite3.Connection, token: str) -> None:
    connection.execute("DELETE FROM login WHERE token_hash = ?", (token_hash(token),))


def remove_logins_like(connection: sqlite3.Connection, token: str) -> None:
    """Delete every sign-in of the person who is signed in with `token`."""
    for kind in ("resident_id", "staff_id"):  # one of the two is NULL, which equals nothing
        connection.execute(
            f"DELETE FROM login WHERE {kind} = (SELECT {kind} FROM login WHERE token_hash = ?)", (token_hash(token),)
        )


def remove_logins_of_resident(connection: sqlite3.Connection, resident_id: int) -> None:
    connection.execute("DELETE FROM login WHERE resident_id = ?", (resident_id,))


def remove_expired_logins(connection: sqlite3.Connection, now_unix_ms: int) -> None:
    connection.execute("DELETE FROM login WHERE expires_unix_ms <= ?", (now_unix_ms,))


def add_token(
    connection: sqlite3.Connection, name: str, scopes: tuple[str, ...], token: str, unix_ms: int, expires_unix_ms: int
) -> None:
    connection.execute(
        "INSERT INTO api_token (name, scopes, token_hash, added_unix_ms, expires_unix_ms) VALUES (?, ?, ?, ?, ?)",
        (name, " ".join(scopes), token_hash(token), unix_ms, expires_unix_ms),
    )


def token_by_name(connection: sqlite3.Connection, name: str) -> TokenRow | None:
    """Return the token of this name, in any spelling; if several are alike, the one with this exact spelling."""
    return rows.by_spelling(api_tokens(connection), name)


def scopes_of(connection: sqlite3.Connection, token: str, now_unix_ms: int) -> tuple[str, ...]:
    """Return the scopes of `token`; empty if it does not exist or has expired."""
    row = connection.execute(
        "SELECT scopes FROM api_token WHERE token_hash = ? AND expires_unix_ms > ?", (token_hash(token), now_unix_ms)
    ).fetchone()
    return () if row is None else tuple(row["scopes"].split())


def api_tokens(connection: sqlite3.Connection) -> list[TokenRow]:
    found = connection.execute("SELECT name, scopes, expires_unix_ms FROM api_token ORDER BY name")
    return [TokenRow(row["name"], tuple(row["scopes"].split()), row["expires_unix_ms"]) for row in found]


def remove_token(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("DELETE FROM api_token WHERE name = ?", (name,)).rowcount > 0
