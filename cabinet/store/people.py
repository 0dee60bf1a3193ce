"""Residents, staff, sign-ins and API tokens in the database. Runs inside the caller's transaction.

Secrets are stored only as hashes: a PIN or password as argon2, a random token as SHA-256.
"""

import hashlib
import secrets
import sqlite3
from typing import Literal, TypeVar

import msgspec

from cabinet import normal_form
from cabinet.records import Role
from cabinet.store import rows


class ResidentRow(msgspec.Struct, frozen=True):
    id: int
    card: str
    name: str
    pin_hash: str
    blocked: bool
    group: str = ""
    guest: bool = False


class StaffRow(msgspec.Struct, frozen=True):
    id: int
    name: str
    password_hash: str
    role: Role = "operator"


class LoginRow(msgspec.Struct, frozen=True):
    who: int  # id of the resident or of the member of staff
    used_unix_ms: int


class TokenRow(msgspec.Struct, frozen=True):
    name: str
    scopes: tuple[str, ...]
    expires_unix_ms: int


Named = TypeVar("Named", StaffRow, TokenRow)

_RESIDENT = 'SELECT *, tariff_group AS "group" FROM resident'


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token; it is enough for a token of 256 random bits, which cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def add_resident(
    connection: sqlite3.Connection,
    card: str,
    name: str,
    pin_hash: str,
    unix_ms: int,
    group: str = "",
    guest: bool = False,
) -> int:
    cursor = connection.execute(
        "INSERT INTO resident (card, name, pin_hash, added_unix_ms, tariff_group, holder, guest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (card, name, pin_hash, unix_ms, group, secrets.token_hex(8), guest),
    )
    assert cursor.lastrowid is not None  # an INSERT that did not raise has one
    return cursor.lastrowid


def holder_of(connection: sqlite3.Connection, resident_id: int) -> str:
    """Return the pseudonym of a resident in the usage log."""
    row = connection.execute("SELECT holder FROM resident WHERE id = ?", (resident_id,)).fetchone()
    return str(row["holder"])


def erase(connection: sqlite3.Connection, resident_id: int) -> None:
    """Erase all personal data of a resident; the row stays for its references, with a random card."""
    connection.execute(
        "UPDATE resident SET card = ?, name = '', pin_hash = '', blocked = 1, tariff_group = '', holder = NULL"
        " WHERE id = ?",
        (f"erased-{secrets.token_hex(8)}", resident_id),
    )
    connection.execute("UPDATE session SET card = '' WHERE resident_id = ?", (resident_id,))
    connection.execute("DELETE FROM waiting WHERE resident_id = ?", (resident_id,))
    connection.execute("DELETE FROM guest_code WHERE resident_id = ?", (resident_id,))
    remove_logins_of_resident(connection, resident_id)


def resident_by_card(connection: sqlite3.Connection, card: str) -> ResidentRow | None:
    """Return the resident with this card, in any spelling, or None.

    Cards of an older version may differ in capital letters only. Each of those is found by its exact spelling only: no
    resident may reach the wallet of another.
    """
    found = residents_by_card(connection, card)
    if len(found) > 1:
        found = [row for row in found if row.card == normal_form.spelling(card)]
    return found[0] if found else None


def residents_by_card(connection: sqlite3.Connection, card: str) -> list[ResidentRow]:
    """Return the residents with a card of this normal form: at most one, except for cards of an older version."""
    sql = f"{_RESIDENT} WHERE card = ? COLLATE NOCASE ORDER BY id"
    return rows.many(connection, ResidentRow, sql, normal_form.card(card))


def similar_cards(connection: sqlite3.Connection) -> list[list[str]]:
    """Return the cards that differ in capital letters only, grouped by form."""
    groups = connection.execute(
        "SELECT json_group_array(card) AS cards FROM (SELECT card FROM resident ORDER BY card)"
        " GROUP BY card COLLATE NOCASE HAVING count(*) > 1"
    )
    return [msgspec.json.decode(row["cards"], type=list[str]) for row in groups]


def resident_by_id(connection: sqlite3.Connection, resident_id: int) -> ResidentRow | None:
    return rows.one(connection, ResidentRow, f"{_RESIDENT} WHERE id = ?", resident_id)


def resident_by_holder(connection: sqlite3.Connection, holder: str) -> ResidentRow | None:
    return rows.one(connection, ResidentRow, f"{_RESIDENT} WHERE holder = ?", holder)


def is_erased(row: ResidentRow) -> bool:
    """Return whether the personal data of the row is erased."""
    return row.pin_hash == "" and row.card.startswith("erased-")


def residents(connection: sqlite3.Connection) -> list[ResidentRow]:
    return rows.many(connection, ResidentRow, f"{_RESIDENT} ORDER BY card")


def set_blocked(connection: sqlite3.Connection, resident_id: int, blocked: bool) -> None:
    """Block or unblock a card. A blocked card is signed out."""
    connection.execute("UPDATE resident SET blocked = ? WHERE id = ?", (blocked, resident_id))
    if blocked:
        remove_logins_of_resident(connection, resident_id)


def set_group(connection: sqlite3.Connection, card: str, group: str) -> None:
    connection.execute("UPDATE resident SET tariff_group = ? WHERE card = ?", (group, card))


def set_pin(connection: sqlite3.Connection, resident_id: int, pin_hash: str) -> None:
    """Set the hash of a new PIN; all sign-ins of the card end."""
    connection.execute("UPDATE resident SET pin_hash = ? WHERE id = ?", (pin_hash, resident_id))
    remove_logins_of_resident(connection, resident_id)


def held_fen(connection: sqlite3.Connection, resident_id: int) -> int:
    """Return the money held for the resident's running session."""
    sql = "SELECT coalesce(sum(held_fen), 0) FROM session WHERE resident_id = ? AND state != 'settled'"
    return rows.number(connection, sql, resident_id)


def add_staff(
    connection: sqlite3.Connection, name: str, password_hash: str, unix_ms: int, role: Role = "operator"
) -> int:
    cursor = connection.execute(
        "INSERT INTO staff (name, password_hash, added_unix_ms, role) VALUES (?, ?, ?, ?)",
        (name, password_hash, unix_ms, role),
    )
    assert cursor.lastrowid is not None  # an INSERT that did not raise has one
    return cursor.lastrowid


def staff_by_name(connection: sqlite3.Connection, name: str) -> StaffRow | None:
    """Return the login of this name, in any spelling; if several are alike, the one with this exact spelling."""
    return _of_name(staff(connection), name)


def _of_name(named: list[Named], name: str) -> Named | None:
    alike = [row for row in named if normal_form.login_name(row.name) == normal_form.login_name(name)]
    if len(alike) > 1:
        alike = [row for row in alike if row.name in (name, normal_form.text(name))]
    return alike[0] if alike else None


def staff_by_id(connection: sqlite3.Connection, staff_id: int) -> StaffRow | None:
    return rows.one(connection, StaffRow, "SELECT * FROM staff WHERE id = ?", staff_id)


def staff(connection: sqlite3.Connection) -> list[StaffRow]:
    return rows.many(connection, StaffRow, "SELECT * FROM staff ORDER BY name")


def set_staff_role(connection: sqlite3.Connection, staff_id: int, role: Role) -> None:
    connection.execute("UPDATE staff SET role = ? WHERE id = ?", (role, staff_id))


def set_staff_password(connection: sqlite3.Connection, staff_id: int, password_hash: str) -> None:
    """Set the hash of a new password; all sign-ins of the login end."""
    connection.execute("UPDATE staff SET password_hash = ? WHERE id = ?", (password_hash, staff_id))
    connection.execute("DELETE FROM login WHERE staff_id = ?", (staff_id,))


def remove_staff(connection: sqlite3.Connection, name: str) -> bool:
    """Remove a login and its sign-ins. Return False if there is none."""
    return connection.execute("DELETE FROM staff WHERE name = ?", (name,)).rowcount > 0


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
    """Return the token of this name, matched as in `staff_by_name`."""
    return _of_name(tokens(connection), name)


def scopes_of(connection: sqlite3.Connection, token: str, now_unix_ms: int) -> tuple[str, ...]:
    """Return the scopes of `token`; empty if it does not exist or has expired."""
    row = connection.execute(
        "SELECT scopes FROM api_token WHERE token_hash = ? AND expires_unix_ms > ?", (token_hash(token), now_unix_ms)
    ).fetchone()
    return () if row is None else tuple(row["scopes"].split())


def tokens(connection: sqlite3.Connection) -> list[TokenRow]:
    found = connection.execute("SELECT name, scopes, expires_unix_ms FROM api_token ORDER BY name")
    return [TokenRow(row["name"], tuple(row["scopes"].split()), row["expires_unix_ms"]) for row in found]


def remove_token(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("DELETE FROM api_token WHERE name = ?", (name,)).rowcount > 0
