"""Enrolment codes and certificates of cabinets."""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection


class RevokedRow(msgspec.Struct, frozen=True):
    serial: str
    revoked: datetime.datetime


class CertificateRow(msgspec.Struct, frozen=True):
    serial: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    revoked: datetime.datetime | None


async def add_code(connection: Connection, cabinet: str, code_hash: str, life: datetime.timedelta) -> None:
    """Store a code for `cabinet`; earlier unused ones are void."""
    await connection.execute("DELETE FROM enrolment_code WHERE cabinet = %s AND used IS NULL", (cabinet,))
    await connection.execute(
        "INSERT INTO enrolment_code (code_hash, cabinet, expires) VALUES (%s, %s, now() + %s)",
        (code_hash, cabinet, life),
    )


async def use_code(connection: Connection, code_hash: str) -> str | None:
    """Use a code up; return its cabinet, or None if it is unknown, used or expired."""
    found = await rows.value(
        connection,
        "UPDATE enrolment_code SET used = now() WHERE code_hash = %s AND used IS NULL AND expires > now()"
        " RETURNING cabinet",
        (code_hash,),
    )
    return None if found is None else str(found)


async def void_codes(connection: Connection, cabinet: str) -> None:
    await connection.execute("DELETE FROM enrolment_code WHERE cabinet = %s AND used IS NULL", (cabinet,))


async def add(
    connection: Connection, serial: str, cabinet: str, not_before: datetime.datetime, not_after: datetime.datetime
) -> None:
    await connection.execute(
        "INSERT INTO certificate (serial, cabinet, not_before, not_after) VALUES (%s, %s, %s, %s)",
        (serial, cabinet, not_before, not_after),
    )


async def revoke_all(connection: Connection, cabinet: str) -> int:
    """Revoke every certificate of the cabinet; return how many were not yet."""
    return await rows.changed(
        connection, "UPDATE certificate SET revoked = now() WHERE cabinet = %s AND revoked IS NULL", (cabinet,)
    )


async def revoked(connection: Connection) -> list[RevokedRow]:
    """Return the revoked certificates that ended recently or not yet: the broker's clock may be slow."""
    return await rows.many(
        connection,
        RevokedRow,
        "SELECT serial, revoked FROM certificate WHERE revoked IS NOT NULL AND not_after > now() - interval '30 days'"
        " ORDER BY revoked, serial",
    )


async def of_cabinet(connection: Connection, cabinet: str) -> list[CertificateRow]:
    """Return the certificates of the cabinet, newest first."""
    return await rows.many(
        connection,
        CertificateRow,
        "SELECT serial, not_before, not_after, revoked FROM certificate WHERE cabinet = %s ORDER BY not_after DESC",
        (cabinet,),
    )


async def made_within(connection: Connection, cabinet: str, span: datetime.timedelta) -> int:
    """Return how many certificates the cabinet got in the last `span`; `not_before` is a day early."""
    found = await rows.value(
        connection,
        "SELECT count(*) FROM certificate WHERE cabinet = %s AND not_before > now() - interval '1 day' - %s",
        (cabinet, span),
    )
    return int(found)


async def add_failure(connection: Connection, key: str) -> None:
    await connection.execute("INSERT INTO sign_in_failure (key) VALUES (%s)", (key,))


async def failures(connection: Connection, key: str, span: datetime.timedelta) -> int:
    """Return the failures of `key` in the last `span`."""
    found = await rows.value(
        connection, "SELECT count(*) FROM sign_in_failure WHERE key = %s AND at > now() - %s", (key, span)
    )
    return int(found)
