"""Second factor of a staff login: set up with a phone, confirmed, switched off."""

import secrets
import sqlite3

from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.service.accounts import totp
from cabinet.service.accounts.sign_in import Authenticator, use_second_factor
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import SecondFactorView
from cabinet.store import second_factors, staff


class SecondFactor:
    """Implements `property_ports.SecondFactorPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions, authenticator: Authenticator) -> None:
        self._context = context
        self._audited = audited
        self._authenticator = authenticator

    async def state(self, actor: Actor) -> SecondFactorView:
        actor.require("look")
        staff_id = actor.staff.staff_id
        row, left = await self._context.storage.read(
            lambda c: (second_factors.of_staff(c, staff_id), second_factors.codes_left(c, staff_id))
        )
        if row is None:
            return SecondFactorView(False)
        if row.confirmed:
            return SecondFactorView(True, left)
        address = totp.address(row.secret, self._context.config.site.name, actor.staff.name)
        return SecondFactorView(False, 0, totp.secret_text(row.secret), address)

    async def begin(self, actor: Actor) -> None:
        secret = secrets.token_bytes(totp.SECRET_BYTES)

        def work(connection: sqlite3.Connection) -> tuple[None, None]:
            second_factors.begin(connection, actor.staff.staff_id, secret)
            return None, None

        await self._audited.do(actor, "look", work)

    async def confirm(self, actor: Actor, code: str) -> list[str]:
        staff_id, now_s = actor.staff.staff_id, self._now_s()

        def work(connection: sqlite3.Connection) -> tuple[list[str], Note]:
            row = second_factors.of_staff(connection, staff_id)
            if row is None or row.confirmed:
                raise Refused("expired")
            if use_second_factor(connection, staff_id, code, now_s) is None:
                raise Refused("wrong_second_factor")
            return second_factors.confirm(connection, staff_id), Note("second_factor_on", subject=actor.staff.name)

        return await self._audited.do(actor, "look", work)

    async def switch_off(self, actor: Actor, proof: str) -> None:
        staff_id, now_s = actor.staff.staff_id, self._now_s()
        row = await self._context.storage.read(lambda c: staff.by_id(c, staff_id))
        if row is None:
            raise Refused("signed_out")

        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            if not right and use_second_factor(connection, staff_id, proof, now_s) is None:
                raise Refused("wrong_second_factor")
            return None, _off(connection, row)

        with self._authenticator.attempt(row.name, actor.address):
            right = await self._authenticator.is_password(row, proof)
            await self._audited.do(actor, "look", work)

    async def switch_off_for(self, actor: Actor, staff_id: int) -> None:
        if staff_id == actor.staff.staff_id:
            raise Refused("not_allowed")  # the own login only with a proof: the page may be open and unattended

        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            row = staff.by_id(connection, staff_id)
            if row is None:
                raise Refused("unknown_staff")
            return None, _off(connection, row)

        await self._audited.do(actor, "staff", work)

    def _now_s(self) -> int:
        return self._context.clock.wall().unix_ms // 1000


def _off(connection: sqlite3.Connection, row: staff.StaffRow) -> Note | None:
    """Switch it off; return no note if it was off already."""
    was_on = second_factors.is_on(connection, row.id)
    second_factors.remove(connection, row.id)
    return Note("second_factor_off", subject=row.name) if was_on else None
