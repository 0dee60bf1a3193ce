"""Sign-ins: tokens of residents and staff, codes by SMS, and failed attempts over all web processes.

Tokens and codes are kept as their SHA-256 only; the caller computes it.
"""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection

KNOWN_DAYS = 180  # an address stays known for so long after its last sign-in


class LoginRow(msgspec.Struct, frozen=True):
    """A token that is good; exactly one of the two ids is set."""

    token_hash: str
    resident_id: int | None
    staff_id: int | None
    company_id: int
    expires: datetime.datetime
    used: datetime.datetime


class SmsCodeRow(msgspec.Struct, frozen=True):
    id: int
    company_id: int
    phone: str
    code_hash: str
    sent: datetime.datetime
    expires: datetime.datetime
    tries: int
    used: datetime.datetime | None
    address: str


async def add(
    connection: Connection,
    token_hash: str,
    lasts: datetime.timedelta,
    *,
    resident_id: int | None = None,
    staff_id: int | None = None,
) -> None:
    await connection.execute(
        "INSERT INTO login (token_hash, resident_id, staff_id, expires) VALUES (%s, %s, %s, now() + %s)",
        (token_hash, resident_id, staff_id, lasts),
    )


async def get(connection: Connection, token_hash: str) -> LoginRow | None:
    """Return the login of a token, unless it expired, or its resident is blocked or its staff removed."""
    return await rows.one(
        connection,
        LoginRow,
        "SELECT login.*, coalesce(resident.company_id, staff.company_id) AS company_id FROM login"
        " LEFT JOIN resident ON resident.id = resident_id AND NOT blocked AND NOT erased"
        " LEFT JOIN staff ON staff.id = staff_id AND removed IS NULL"
        " WHERE token_hash = %s AND expires > now() AND (resident.id IS NOT NULL OR staff.id IS NOT NULL)",
        (token_hash,),
    )


async def touch(connection: Connection, token_hash: str) -> None:
    """Note that a token was used now; the idle time starts again."""
    await connection.execute("UPDATE login SET used = now() WHERE token_hash = %s", (token_hash,))


async def remove(connection: Connection, token_hash: str, *, everywhere: bool = False) -> None:
    """Sign out; with `everywhere`, all tokens of the same person."""
    where = "token_hash = %(token)s"
    if everywhere:
        where += (
            " OR resident_id = (SELECT resident_id FROM login WHERE token_hash = %(token)s)"
            " OR staff_id = (SELECT staff_id FROM login WHERE token_hash = %(token)s)"
        )
    await connection.execute(f"DELETE FROM login WHERE {where}".encode(), {"token": token_hash})


async def add_sms_code(
    connection: Connection, company_id: int, phone: str, code_hash: str, lasts: datetime.timedelta, address: str = ""
) -> None:
    await connection.execute(
        "INSERT INTO sms_code (company_id, phone, code_hash, expires, address) VALUES (%s, %s, %s, now() + %s, %s)",
        (company_id, phone, code_hash, lasts, address),
    )


async def sms_codes_sent(
    connection: Connection, within: datetime.timedelta, *, phone: str | None = None, address: str | None = None
) -> int:
    """Return the number of codes sent lately to a phone, or asked for from an address, over all companies."""
    return int(
        await rows.value(
            connection,
            "SELECT count(*) FROM sms_code WHERE sent > now() - %(within)s::interval"
            " AND (%(phone)s::text IS NULL OR phone = %(phone)s)"
            " AND (%(address)s::text IS NULL OR address = %(address)s)",
            {"within": within, "phone": phone, "address": address},
        )
    )


async def use_sms_code(connection: Connection, company_id: int, phone: str, code_hash: str, max_tries: int) -> bool:
    """Use the newest code of a phone up; return whether it is the one sent. Each wrong try counts against it."""
    row = await rows.one(
        connection,
        SmsCodeRow,
        "SELECT * FROM sms_code WHERE company_id = %s AND phone = %s AND used IS NULL AND expires > now()"
        " ORDER BY sent DESC, id DESC LIMIT 1 FOR UPDATE",
        (company_id, phone),
    )
    if row is None or row.tries >= max_tries:
        return False
    if row.code_hash != code_hash:
        await connection.execute("UPDATE sms_code SET tries = tries + 1 WHERE id = %s", (row.id,))
        return False
    await connection.execute("UPDATE sms_code SET used = now() WHERE id = %s", (row.id,))
    return True


async def count_failure(connection: Connection, key: str) -> None:
    """Note a failed sign-in of a card, phone, login or address, as in `card:1234`."""
    await connection.execute("INSERT INTO sign_in_failure (key) VALUES (%s)", (key,))


async def failures(
    connection: Connection, key: str, within: datetime.timedelta
) -> tuple[int, datetime.datetime | None]:
    """Return the number of failures of `key` lately, and the moment of the last one."""
    cursor = await connection.execute(
        "SELECT count(*), max(at) FROM sign_in_failure WHERE key = %s AND at > now() - %s::interval", (key, within)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), row[1]


async def forget_failures(connection: Connection, key: str) -> None:
    await connection.execute("DELETE FROM sign_in_failure WHERE key = %s", (key,))


async def drop_old(connection: Connection) -> None:
    """Delete tokens and codes that expired, failures of more than a day ago, addresses that were not used for long."""
    await connection.execute("DELETE FROM login WHERE expires < now()")
    await connection.execute("DELETE FROM sms_code WHERE sent < now() - interval '1 day'")
    await connection.execute("DELETE FROM sign_in_failure WHERE at < now() - interval '1 day'")
    await connection.execute(f"DELETE FROM known_address WHERE used < now() - interval '{KNOWN_DAYS} days'".encode())
