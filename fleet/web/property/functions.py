"""Functions of the property's pages over PostgreSQL: the fleet's `SharedPropertyPort`, and staff sign-in.

Each action checks the role again, and writes its audit entry in the same transaction. Everything is of the actor's
company; what belongs to another one does not exist.
"""

import asyncio
import contextlib
import datetime
import re
import secrets
from collections.abc import AsyncIterator
from typing import cast

from cabinet import normal_form, plain_text
from cabinet.clock import SystemClock, WallTime
from cabinet.errors import Refused
from cabinet.pin_codes import random_pin
from cabinet.records import Actor, AuditEntry, AuditFilter, Role, StaffView, Task
from cabinet.secret_hash import hash_secret
from cabinet.service.property_views import PropertyResidentView, PropertyWalletLine, ResidentPage
from cabinet.texts import number_format
from fleet.config import FleetConfig
from fleet.store import audit, companies, logins, pages, residents, staff, wallets
from fleet.store.audit import FleetAuditFilter, FleetAuditRow
from fleet.store.database import Connection, Pool
from fleet.store.residents import ResidentListRow
from fleet.store.staff import FleetStaffRow
from fleet.store.wallets import UNDO_WITHIN, WalletEntry
from fleet.web.accounts import FleetAccounts, masked_phone, token_hash
from fleet.web.property.access import FleetActor, fleet_actor_of
from fleet.web.views import wall

MAX_ROWS = 100
MAX_ENTRIES = 200
LINES_SHOWN = 30
MAX_NAME = 40
STAFF_LASTS = datetime.timedelta(hours=12)
USED_AGAIN = datetime.timedelta(minutes=1)
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class FleetStaffAccounts(FleetAccounts):
    """Implements `ports.StaffAccountsPort`: residents, and staff by name and password."""

    async def sign_in_staff(self, name: str, password: str, address: str, at: str = "") -> str:
        """Sign in at the company `at`, or at the only one. An unknown company costs the same work as a known one."""
        async with self._pool.connection() as connection:
            company_id = await pages.company_named(connection, normal_form.text(at))
        key = f"staff:{normal_form.login_name(at) if company_id is None else company_id}:{normal_form.login_name(name)}"
        await self._attempts.begin(key, address)
        async with self._pool.connection() as connection:
            row = None if company_id is None else await staff.by_name(connection, company_id, normal_form.text(name))
        right = await self._hashing.matches(None if row is None else row.password_hash, password)
        if row is None or not right:
            raise Refused("wrong_card_or_pin")
        token = secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            await self._attempts.was_right(connection, key, address)
            await logins.add(connection, token_hash(token), STAFF_LASTS, staff_id=row.id)
            await audit.add(connection, row.company_id, row.name, "sign_in", role=row.role, address=address)
        return token

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        raise Refused("expired")  # no login of the fleet has a second factor


class Audited:
    """Transactions of actions; `entry` is written with them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    @contextlib.asynccontextmanager
    async def acting(self, actor: Actor, task: Task) -> AsyncIterator["Acting"]:
        """Check the role and begin the transaction of an action. Refuses not_allowed."""
        actor.require(task)
        async with self.pool.connection() as connection:
            yield Acting(connection, fleet_actor_of(actor))


class Acting:
    """One action of a person: its transaction, and its entry in the audit log."""

    def __init__(self, connection: Connection, actor: FleetActor) -> None:
        self.connection = connection
        self.actor = actor
        self.company_id = actor.company_id

    async def note(self, action: str, resident_id: int | None = None, subject: str = "", detail: str = "") -> None:
        await audit.add(
            self.connection,
            self.company_id,
            self.actor.staff.name,
            action,
            role=self.actor.staff.role,
            address=self.actor.address,
            resident_id=resident_id,
            subject=subject,
            detail=detail,
        )


class FleetProperty:
    """Implements `property_ports.SharedPropertyPort`."""

    def __init__(self, pool: Pool, config: FleetConfig) -> None:
        audited = Audited(pool)
        self.audited = audited
        self.residents = FleetResidents(audited)
        self.staff = FleetStaff(audited, datetime.timedelta(seconds=config.web.staff_idle_s))
        self.audit = FleetAudit(audited)

    def wall(self) -> WallTime:
        return SystemClock().wall()


class FleetStaffView(StaffView, frozen=True, kw_only=True):
    """A login with its site groups; empty means all sites. `known_groups` are those that the sites have."""

    groups: list[str]
    known_groups: list[str]


class FleetStaff:
    """Implements `property_ports.StaffPort`."""

    def __init__(self, audited: Audited, idle: datetime.timedelta) -> None:
        self._audited = audited
        self._idle = idle

    async def actor(self, token: str, address: str, active: bool = True) -> Actor:
        async with self._audited.pool.connection() as connection:
            login = await logins.get(connection, token_hash(token))
            if login is None or login.staff_id is None:
                raise Refused("signed_out")
            unused = await pages.now(connection) - login.used
            row = await staff.get(connection, login.company_id, login.staff_id)
            if row is None or unused > self._idle:
                raise Refused("signed_out")
            if active and unused > min(USED_AGAIN, self._idle / 20):
                await logins.touch(connection, login.token_hash)
        return FleetActor(_staff_view(row), address, company_id=row.company_id, groups=row.site_groups)

    async def everybody(self, actor: Actor) -> list[StaffView]:
        async with self._audited.acting(actor, "staff") as act:
            known = sorted({each.site_group for each in await companies.sites(act.connection, act.company_id)} - {""})
            everyone = await staff.everyone(act.connection, act.company_id)
        return [
            FleetStaffView(row.id, row.name, row.role, groups=row.site_groups, known_groups=known) for row in everyone
        ]

    async def add(self, actor: Actor, name: str, role: Role) -> str:
        name = normal_form.text(name)
        if not 0 < len(name) <= MAX_NAME or plain_text.REPLACED in name:
            raise Refused("bad_name")
        password, password_hash = await _new_password()
        async with self._audited.acting(actor, "staff") as act:
            await staff.add(act.connection, act.company_id, name, password_hash, role)
            await act.note("staff_add", subject=name, detail=role)
        return password

    async def set_role(self, actor: Actor, staff_id: int, role: Role) -> None:
        async with self._audited.acting(actor, "staff") as act:
            row = await self._known(act, staff_id)
            if row.role != role:
                await staff.set_role(act.connection, act.company_id, staff_id, role)
                await act.note("staff_role", subject=row.name, detail=f"{row.role} → {role}")

    async def set_groups(self, actor: Actor, staff_id: int, groups: list[str]) -> None:
        """Change the site groups of a login; empty: all sites. Refuses unknown_staff, last_operator."""
        async with self._audited.acting(actor, "staff") as act:
            row = await self._known(act, staff_id)
            if sorted(row.site_groups) != sorted(groups):
                await staff.set_site_groups(act.connection, act.company_id, staff_id, groups)
                await act.note("staff_groups", subject=row.name, detail=", ".join(groups))

    async def new_password(self, actor: Actor, staff_id: int) -> str:
        password, password_hash = await _new_password()
        async with self._audited.acting(actor, "staff") as act:
            row = await self._known(act, staff_id)
            await staff.set_password(act.connection, act.company_id, staff_id, password_hash)
            await act.note("staff_password", subject=row.name)
        return password

    async def remove(self, actor: Actor, staff_id: int) -> None:
        async with self._audited.acting(actor, "staff") as act:
            row = await self._known(act, staff_id)
            await staff.remove(act.connection, act.company_id, staff_id)
            await act.note("staff_remove", subject=row.name)

    async def _known(self, act: Acting, staff_id: int) -> FleetStaffRow:
        row = await staff.get(act.connection, act.company_id, staff_id)
        if row is None:
            raise Refused("unknown_staff")
        return row


class FleetAudit:
    """Implements `property_ports.AuditPort`."""

    def __init__(self, audited: Audited) -> None:
        self._audited = audited

    async def entries(self, actor: Actor, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
        found = FleetAuditFilter(
            wanted.before,
            _moment(wanted.from_unix_ms),
            _moment(wanted.to_unix_ms),
            wanted.staff,
            wanted.action,
            wanted.resident_id,
        )
        async with self._audited.acting(actor, "audit") as act:
            rows = await audit.entries(act.connection, act.company_id, found, max(0, min(limit, MAX_ENTRIES)))
        return [_audit_entry(row) for row in rows]

    async def staff_names(self, actor: Actor) -> list[str]:
        async with self._audited.acting(actor, "audit") as act:
            return await audit.staff_names(act.connection, act.company_id)


class FleetResidents:
    """Implements `property_ports.ResidentsPort`. A login for some site groups sees residents who charged there."""

    def __init__(self, audited: Audited) -> None:
        self._audited = audited

    async def found(self, actor: Actor, words: str, after_id: int | None, limit: int) -> list[PropertyResidentView]:
        async with self._audited.acting(actor, "money") as act:
            found = await pages.residents_found(
                act.connection,
                act.company_id,
                act.actor.groups,
                normal_form.label(words),
                after_id or 0,
                max(0, min(limit, MAX_ROWS)),
            )
        return [_resident_view(row, unmasked=False) for row in found]

    async def page(self, actor: Actor, resident_id: int, *, unmasked: bool = False) -> ResidentPage:
        async with self._audited.acting(actor, "money") as act:
            row = await self._known(act, resident_id)
            if unmasked:
                await act.note("resident_reveal", resident_id)
            found = await wallets.statement(act.connection, act.company_id, resident_id, None, LINES_SHOWN + 1)
            money = await wallets.wallet(act.connection, act.company_id, resident_id)
            now = await pages.now(act.connection)
        lines = [_wallet_line(each, money.balance_fen, now) for each in found[:LINES_SHOWN]]
        return ResidentPage(_resident_view(row, unmasked=unmasked), lines, len(found) > LINES_SHOWN, row.held_fen > 0)

    async def top_up(self, actor: Actor, resident_id: int, amount_fen: int, request_key: str, note: str) -> None:
        if not _KEY.fullmatch(request_key):
            raise Refused("bad_request")
        note = normal_form.text(note)
        async with self._audited.acting(actor, "money") as act:
            await self._known(act, resident_id)
            key = f"web:{request_key}"
            if await wallets.top_up(act.connection, act.company_id, resident_id, amount_fen, key, note):
                await act.note("top_up", resident_id, number_format.yuan(amount_fen), note)

    async def undo_top_up(self, actor: Actor, resident_id: int, transaction_number: int) -> None:
        async with self._audited.acting(actor, "money") as act:
            await self._known(act, resident_id)
            await wallets.undo_top_up(act.connection, act.company_id, resident_id, transaction_number)
            await act.note("top_up_undo", resident_id, str(transaction_number))

    async def set_blocked(self, actor: Actor, resident_id: int, blocked: bool) -> None:
        async with self._audited.acting(actor, "money") as act:
            row = await self._known(act, resident_id)
            if row.blocked != blocked:
                await residents.set_blocked(act.connection, act.company_id, resident_id, blocked)
                await act.note("resident_block" if blocked else "resident_unblock", resident_id)

    async def new_pin(self, actor: Actor, resident_id: int) -> str:
        pin = random_pin()
        pin_hash = await asyncio.to_thread(hash_secret, pin)
        async with self._audited.acting(actor, "money") as act:
            await self._known(act, resident_id)
            await residents.set_pin(act.connection, act.company_id, resident_id, pin_hash)
            await act.note("resident_pin", resident_id)
        return pin

    async def erase(self, actor: Actor, resident_id: int) -> None:
        async with self._audited.acting(actor, "residents") as act:
            await self._known(act, resident_id)
            await residents.erase(act.connection, act.company_id, resident_id)
            await act.note("resident_erase", resident_id)

    async def _known(self, act: Acting, resident_id: int) -> ResidentListRow:
        found = await pages.residents_found(
            act.connection, act.company_id, act.actor.groups, "", resident_id - 1, 1, resident_id
        )
        if not found:
            raise Refused("unknown_resident")
        return found[0]


async def _new_password() -> tuple[str, str]:
    password = secrets.token_urlsafe(12)
    return password, await asyncio.to_thread(hash_secret, password)


def _staff_view(row: FleetStaffRow) -> StaffView:
    return StaffView(row.id, row.name, row.role)


def _audit_entry(row: FleetAuditRow) -> AuditEntry:
    """Return the entry; an action of a command has no role, and is shown as the fleet's."""
    role = cast(Role, row.role or "fleet")
    return AuditEntry(
        row.id, wall(row.at), row.staff, role, row.address, row.action, row.resident_id, row.subject, row.detail
    )


def _resident_view(row: ResidentListRow, *, unmasked: bool) -> PropertyResidentView:
    if row.card:
        card = row.card if unmasked else number_format.masked(row.card)
    else:
        card = (row.phone or "") if unmasked or not row.phone else masked_phone(row.phone)
    return PropertyResidentView(
        resident_id=row.id,
        card=card,
        name=row.name if unmasked else number_format.masked_name(row.name),
        masked=not unmasked,
        blocked=row.blocked,
        group=row.tariff_group,
        guest=False,
        balance_fen=row.balance_fen,
        held_fen=row.held_fen,
    )


def _wallet_line(entry: WalletEntry, balance_fen: int, now: datetime.datetime) -> PropertyWalletLine:
    undoable = entry.kind == "top_up" and not entry.undone and now - entry.at < UNDO_WITHIN
    return PropertyWalletLine(
        number=entry.number,
        at=wall(entry.at),
        kind=entry.kind,
        amount_fen=entry.amount_fen,
        balance_fen=entry.balance_fen,
        note=entry.note or entry.order_number or "",
        usage_number=None,
        can_be_undone=undoable and entry.amount_fen <= balance_fen,
        undone=entry.undone,
    )


def _moment(unix_ms: int | None) -> datetime.datetime | None:
    return None if unix_ms is None else datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.UTC)
