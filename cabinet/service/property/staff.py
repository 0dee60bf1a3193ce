"""Staff logins of the property and their roles, added and removed by an operator."""

import asyncio
import secrets
import sqlite3

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.records import Actor, Role, StaffView
from cabinet.secret_hash import hash_secret
from cabinet.service.accounts import admin
from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.store import second_factors, staff


class StaffAccounts:
    """Implements `property_ports.StaffPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions, authenticator: Authenticator) -> None:
        self._context = context
        self._audited = audited
        self._authenticator = authenticator

    async def actor(self, token: str, address: str, active: bool = True) -> Actor:
        staff_id = await self._authenticator.who("staff", token, active)
        row = await self._context.storage.read(lambda c: staff.by_id(c, staff_id))
        if row is None:
            raise Refused("signed_out")
        return Actor(_view(row), address)

    async def everybody(self, actor: Actor) -> list[StaffView]:
        actor.require("staff")

        def work(connection: sqlite3.Connection) -> list[StaffView]:
            with_one = second_factors.enabled_staff_ids(connection)
            return [_view(row, row.id in with_one) for row in staff.all_staff(connection)]

        return await self._context.storage.read(work)

    async def add(self, actor: Actor, name: str, role: Role) -> str:
        name = normal_form.text(name)
        if not admin.is_name(name):
            raise Refused("bad_name")
        password = secrets.token_urlsafe(12)
        password_hash = await asyncio.to_thread(hash_secret, password)
        now_ms = self._context.clock.wall().unix_ms

        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            if staff.by_name(connection, name) is not None:
                raise Refused("name_taken")
            staff.add(connection, name, password_hash, now_ms, role)
            return None, Note("staff_add", subject=name, detail=role)

        await self._audited.do(actor, "staff", work)
        return password

    async def set_role(self, actor: Actor, staff_id: int, role: Role) -> None:
        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            row = _known(connection, staff_id)
            if row.role == role:
                return None, None
            if role != "operator":
                _keep_an_operator(connection, row)
            staff.set_role(connection, staff_id, role)
            return None, Note("staff_role", subject=row.name, detail=f"{row.role} → {role}")

        await self._audited.do(actor, "staff", work)

    async def new_password(self, actor: Actor, staff_id: int) -> str:
        password = secrets.token_urlsafe(12)
        password_hash = await asyncio.to_thread(hash_secret, password)

        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            row = _known(connection, staff_id)
            staff.set_password(connection, staff_id, password_hash)
            return None, Note("staff_password", subject=row.name)

        await self._audited.do(actor, "staff", work)
        return password

    async def remove(self, actor: Actor, staff_id: int) -> None:
        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            row = _known(connection, staff_id)
            _keep_an_operator(connection, row)
            staff.remove(connection, row.name)
            return None, Note("staff_remove", subject=row.name)

        await self._audited.do(actor, "staff", work)


def _known(connection: sqlite3.Connection, staff_id: int) -> staff.StaffRow:
    row = staff.by_id(connection, staff_id)
    if row is None:
        raise Refused("unknown_staff")
    return row


def _keep_an_operator(connection: sqlite3.Connection, leaving: staff.StaffRow) -> None:
    """Refuse last_operator: if there were none, only the command line could add one."""
    if not any(row.role == "operator" and row.id != leaving.id for row in staff.all_staff(connection)):
        raise Refused("last_operator")


def _view(row: staff.StaffRow, second_factor: bool = False) -> StaffView:
    return StaffView(row.id, row.name, row.role, second_factor)
