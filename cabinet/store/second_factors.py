"""Second factors of staff logins in the database. Runs inside the caller's transaction."""

import base64
import hashlib
import secrets
import sqlite3

import msgspec

from cabinet.store import rows

RECOVERY_CODES = 10
RECOVERY_BYTES = 10  # 80 random bits: cannot be guessed


class SecondFactorRow(msgspec.Struct, frozen=True):
    secret: bytes
    confirmed: bool
    last_step: int


def of_staff(connection: sqlite3.Connection, staff_id: int) -> SecondFactorRow | None:
    return rows.one(connection, SecondFactorRow, "SELECT * FROM second_factor WHERE staff_id = ?", staff_id)


def is_on(connection: sqlite3.Connection, staff_id: int) -> bool:
    """Return whether sign-in requires a code."""
    row = of_staff(connection, staff_id)
    return row is not None and row.confirmed


def enabled_staff_ids(connection: sqlite3.Connection) -> set[int]:
    """Return the ids of the logins with the second factor on."""
    return {row["staff_id"] for row in connection.execute("SELECT staff_id FROM second_factor WHERE confirmed")}


def begin(connection: sqlite3.Connection, staff_id: int, secret: bytes) -> None:
    """Store an unconfirmed secret in place of an earlier unconfirmed one; do nothing if the second factor is on."""
    connection.execute(
        "INSERT INTO second_factor (staff_id, secret) VALUES (?, ?)"
        " ON CONFLICT (staff_id) DO UPDATE SET secret = excluded.secret, last_step = 0 WHERE NOT confirmed",
        (staff_id, secret),
    )


def confirm(connection: sqlite3.Connection, staff_id: int) -> list[str]:
    """Switch the second factor on; return the recovery codes, of which only hashes are stored."""
    connection.execute("UPDATE second_factor SET confirmed = 1 WHERE staff_id = ?", (staff_id,))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    connection.executemany(
        "INSERT INTO recovery_code (staff_id, code_hash) VALUES (?, ?)", [(staff_id, _hash(code)) for code in codes]
    )
    return codes


def use_step(connection: sqlite3.Connection, staff_id: int, step: int) -> None:
    """Store the time step of a code of the phone: no step up to it is valid again."""
    connection.execute("UPDATE second_factor SET last_step = ? WHERE staff_id = ?", (step, staff_id))


def use_recovery_code(connection: sqlite3.Connection, staff_id: int, code: str) -> bool:
    """Use up a recovery code. Return False if it is wrong or was used before."""
    used = connection.execute(
        "DELETE FROM recovery_code WHERE staff_id = ? AND code_hash = ?", (staff_id, _hash(code))
    ).rowcount
    return used > 0


def codes_left(connection: sqlite3.Connection, staff_id: int) -> int:
    """Return the number of unused recovery codes."""
    return rows.number(connection, "SELECT count(*) FROM recovery_code WHERE staff_id = ?", staff_id)


def remove(connection: sqlite3.Connection, staff_id: int) -> bool:
    """Switch the second factor off and delete its recovery codes. Return False if there is none."""
    return connection.execute("DELETE FROM second_factor WHERE staff_id = ?", (staff_id,)).rowcount > 0


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _hash(code: str) -> str:
    """Return the hash of a code in its normal form: typed small letters and omitted hyphens make no difference."""
    return hashlib.sha256(code.replace("-", "").upper().encode()).hexdigest()
