"""Merchant accounts of companies at the payment platforms, and the people that the platforms name."""

import datetime

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from cabinet.errors import Refused
from fleet.store import residents, rows
from fleet.store.database import Connection


class MerchantRow(msgspec.Struct, frozen=True):
    """One account. `secrets` is sealed; `retired`: it offers no payment any more."""

    id: int
    company_id: int
    platform: str
    merchant: str
    app: str
    settings: dict[str, object]
    secrets: bytes
    added: datetime.datetime
    changed: datetime.datetime
    retired: datetime.datetime | None

    @property
    def label(self) -> str:
        """Return the account's name: what its secrets are bound to."""
        return f"{self.company_id}:{self.platform}:{self.merchant}:{self.app}"


async def add(
    connection: Connection, company_id: int, platform: str, merchant: str, app: str, settings: dict[str, object],
    secrets: bytes,
) -> int:  # fmt: skip
    """Add an account, or replace the settings and secrets of the same one; return its id.

    Refuses name_taken: another company has this merchant, or this one has another account at the platform in use.
    """
    try:
        async with connection.transaction():
            account_id = await rows.value(
                connection,
                "INSERT INTO merchant_account AS known (company_id, platform, merchant, app, settings, secrets)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (platform, merchant, app) DO UPDATE SET"
                " settings = excluded.settings, secrets = excluded.secrets, changed = now(), retired = NULL"
                " WHERE known.company_id = excluded.company_id RETURNING id",
                (company_id, platform, merchant, app, Jsonb(settings), secrets),
            )
    except psycopg.errors.UniqueViolation:
        raise Refused("name_taken") from None
    if account_id is None:
        raise Refused("name_taken")
    return int(account_id)


async def retire(connection: Connection, company_id: int, account_id: int) -> None:
    """Offer no payment by this account any more. Refuses unknown_company."""
    sql = "UPDATE merchant_account SET retired = now() WHERE company_id = %s AND id = %s AND retired IS NULL"
    if not await rows.changed(connection, sql, (company_id, account_id)):
        raise Refused("unknown_company")


async def of_company(connection: Connection, company_id: int) -> list[MerchantRow]:
    """Return the company's accounts, those in use first."""
    sql = "SELECT * FROM merchant_account WHERE company_id = %s ORDER BY retired NULLS FIRST, platform, id"
    return await rows.many(connection, MerchantRow, sql, (company_id,))


async def everyone(connection: Connection) -> list[MerchantRow]:
    """Return all accounts of all companies; for web and worker."""
    return await rows.many(connection, MerchantRow, "SELECT * FROM merchant_account ORDER BY id")


async def resident_of(connection: Connection, company_id: int, platform: str, app: str, payer: str) -> int:
    """Return the resident that the platform names `payer`; a new person becomes a resident."""
    sql = "SELECT resident_id FROM payer WHERE company_id = %s AND platform = %s AND app = %s AND payer = %s"
    key = (company_id, platform, app, payer)
    known = await rows.value(connection, sql, key)
    if known is not None:
        return int(known)
    async with connection.transaction() as inner:
        resident_id = await residents.add(connection, company_id)
        added = await rows.changed(
            connection,
            "INSERT INTO payer (company_id, platform, app, payer, resident_id) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (*key, resident_id),
        )
        if not added:
            raise psycopg.Rollback(inner)  # two pages of one person at once: the first one counts
    return resident_id if added else int(await rows.value(connection, sql, key))
