"""Authentication: residents by card and PIN, staff by name and password, programs by token.

A PIN has six digits, so it is protected by a limit on attempts. Failures are counted by name and by network address,
known or not (`lockout`). An unknown name costs the same work as a known one.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeVar

from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.clock import NS, Clock, WallTime
from cabinet.errors import Refused, StorageFull
from cabinet.records import Actor, StaffView
from cabinet.secret_hash import matches
from cabinet.service.accounts import totp
from cabinet.service.accounts.lockout import AttackWatch, Lockout
from cabinet.service.ports import ResidentView, SecondStep
from cabinet.service.storage import Storage
from cabinet.store import audit, guests, residents, second_factors, staff, tokens
from cabinet.store.ledger_books import balance_fen

Row = TypeVar("Row")

MAX_FAILURES_PER_NAME = 5
MAX_FAILURES_PER_ADDRESS = 20  # many phones share the address of their mobile network
MAX_KNOWN_ADDRESSES = 10_000
MAX_LOGINS = 50  # at once, per card or staff login
WRONG = frozenset({"wrong_card_or_pin", "wrong_second_factor"})
SECOND_STEP_NS = 300 * NS  # from the password to the code
MAX_SECOND_STEPS = 1000

DAY_MS = 86_400_000
RESIDENT_MAX_MS = 180 * DAY_MS  # signed in once on a phone
RESIDENT_IDLE_MS = 30 * DAY_MS
STAFF_MAX_MS = DAY_MS // 2
GUEST_MAX_MS = 2 * DAY_MS  # longer than any charge, so the guest can still read its receipt
USED_STEPS = 20  # a sign-in's last use is written at most this often within its idle time, not with every page

GUEST_NUMBER_DIGITS = 4  # of a guest code: they serve as the card number; the rest serves as the PIN


def use_second_factor(
    connection: sqlite3.Connection, staff_id: int, given: str, unix_s: int
) -> Literal["code", "recovery"] | None:
    """Use up a code of the phone or a recovery code; return None if it is neither, or was used before.

    Runs inside the caller's transaction.
    """
    given = normal_form.card(given)  # both kinds of code: digits, or capital letters and digits
    row = second_factors.of_staff(connection, staff_id)
    if row is None:
        return None
    if totp.is_code(normal_form.digits(given)):
        step = totp.step_of(row.secret, normal_form.digits(given), unix_s, row.last_step)
        if step is None:
            return None
        second_factors.use_step(connection, staff_id, step)
        return "code"
    return "recovery" if second_factors.use_recovery_code(connection, staff_id, given) else None


class PendingSecondStep(NamedTuple):
    """A staff login between the correct password and the code of the second factor."""

    row: staff.StaffRow
    until_ns: int


class Authenticator:
    """Implements `ports.AccountsPort`."""

    def __init__(self, storage: Storage, clock: Clock, staff_idle_s: float) -> None:
        self._storage = storage
        self._clock = clock
        self._idle_ms = {"resident": RESIDENT_IDLE_MS, "staff": round(staff_idle_s * 1000)}
        self._names = Lockout(clock, MAX_FAILURES_PER_NAME)  # names that exist
        self._unknown = Lockout(clock, MAX_FAILURES_PER_NAME)
        self._addresses = Lockout(clock, MAX_FAILURES_PER_ADDRESS)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()  # (name, address) of past sign-ins
        self._attacks = AttackWatch(clock)
        self.attack = self._attacks.view
        self._pending_steps: OrderedDict[str, PendingSecondStep] = OrderedDict()  # by key, the oldest first
        self._hashing = ThreadPoolExecutor(1, "hashing")  # one hash at a time, to limit memory

    async def sign_in(self, card: str, pin: str, address: str, at: str = "") -> str:
        row = await self._checked(
            _card_key(card), normal_form.digits(pin), address,
            lambda: self._storage.read(lambda c: residents.by_card(c, card)), lambda found: found.pin_hash,
        )  # fmt: skip
        self._note_success(_card_key(card), address)
        if row.blocked:
            raise Refused("card_blocked")
        return await self._sign_in("resident", row.id, RESIDENT_MAX_MS)

    async def sign_in_guest(self, code: str, address: str) -> str:
        now_ms, code = self._clock.wall().unix_ms, normal_form.digits(code)
        number, secret = code[:GUEST_NUMBER_DIGITS], code[GUEST_NUMBER_DIGITS:]
        try:
            row = await self._checked(
                f"guest {number}", secret, address,
                lambda: self._storage.read(lambda c: guests.by_number(c, number, now_ms)),
                lambda found: found.secret_hash,
            )  # fmt: skip
        except Refused as refusal:
            if refusal.code == "wrong_card_or_pin":
                raise Refused("wrong_code") from refusal
            raise
        self._note_success(f"guest {number}", address)

        def use_up(connection: sqlite3.Connection) -> None:
            resident = residents.by_id(connection, row.resident_id)
            if resident is None or resident.blocked:
                raise Refused("card_blocked")
            if not guests.take(connection, number, row.resident_id):
                raise Refused("wrong_code")

        return await self._sign_in("resident", row.resident_id, GUEST_MAX_MS, use_up)

    async def sign_in_staff(self, name: str, password: str, address: str, at: str = "") -> str | SecondStep:
        row = await self._checked(
            _staff_key(name), password, address, lambda: self._storage.read(lambda c: staff.by_name(c, name)),
            lambda found: found.password_hash,
        )  # fmt: skip
        if await self._storage.read(lambda c: second_factors.is_on(c, row.id)):
            # the failure count stays: a right password must not allow guessing codes
            return self._begin_second_step(row)
        self._note_success(_staff_key(name), address)
        wall = self._clock.wall()
        return await self._sign_in("staff", row.id, STAFF_MAX_MS, lambda c: _note_sign_in(c, wall, row, address))

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        pending_step = self._pending_steps.get(key)
        if pending_step is None or pending_step.until_ns <= self._clock.monotonic_ns():
            raise Refused("expired")
        row, wall = pending_step.row, self._clock.wall()

        def use_up(connection: sqlite3.Connection) -> None:
            if staff.by_id(connection, row.id) != row or not second_factors.is_on(connection, row.id):
                raise Refused("expired")  # its password, role or second factor has changed
            used = use_second_factor(connection, row.id, code, wall.unix_ms // 1000)
            if used is None:
                raise Refused("wrong_second_factor")
            _note_sign_in(connection, wall, row, address, recovery=used == "recovery")

        with self.attempt(row.name, address):
            token = await self._sign_in("staff", row.id, STAFF_MAX_MS, use_up)
        self._pending_steps.pop(key, None)
        self._note_success(_staff_key(row.name), address)
        return token

    def _begin_second_step(self, row: staff.StaffRow) -> SecondStep:
        key = secrets.token_urlsafe(32)
        self._pending_steps[key] = PendingSecondStep(row, self._clock.monotonic_ns() + SECOND_STEP_NS)
        while len(self._pending_steps) > MAX_SECOND_STEPS:
            self._pending_steps.popitem(last=False)
        return SecondStep(key)

    @contextlib.contextmanager
    def attempt(self, name: str, address: str) -> Iterator[None]:
        """Context of one attempt: if a code or password is refused in it, it counts as a wrong password of that login.

        Refuses locked_out.
        """
        key = self._key(_staff_key(name), address)
        locked = self._count(self._names, key, address)
        try:
            yield
        except Refused as refusal:
            if refusal.code not in WRONG:
                self._undo_count(self._names, key, address)
            else:
                self._note_locks(locked, address)
            raise
        self._names.forget(key)
        self._addresses.undo_count(address)

    async def is_password(self, row: staff.StaffRow, password: str) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._hashing, matches, row.password_hash, password)

    async def _checked(
        self,
        name: str,
        secret: str,
        address: str,
        find: Callable[[], Awaitable[Row | None]],
        hash_of: Callable[[Row], str],
    ) -> Row:
        """Return the row found, if the secret is right. Refuses wrong_card_or_pin, locked_out.

        If it is right, this attempt is not counted; the caller clears earlier failures. A locked-out address is
        refused first, so it adds no failure to any name. A failure is counted only if the secret is really checked;
        made-up names are counted apart from names that exist.
        """
        self._addresses.check(address)
        row = await find()
        names = self._unknown if row is None else self._names
        key = self._key(name, address)
        locked = self._count(names, key, address)  # before the check: many attempts at once gain nothing
        secret_hash = None if row is None else hash_of(row)
        right = await asyncio.get_running_loop().run_in_executor(self._hashing, matches, secret_hash, secret)
        if row is None or not right:
            self._note_locks(locked, address)
            raise Refused("wrong_card_or_pin")
        self._undo_count(names, key, address)  # the address keeps other failures: an own card must not allow guessing
        return row

    def _count(self, names: Lockout, key: str, address: str) -> list[str]:
        """Count one attempt for the name and the address; return what it locks. Refuses locked_out if one is locked."""
        self._addresses.check(address)
        names.check(key)
        locked = ["the address"] if self._addresses.count(address) else []
        if names.count(key) and names is self._names:
            locked.append("a card, code or login")
        return locked

    def _note_locks(self, locked: list[str], address: str) -> None:
        """Report locks of an attempt that has failed; one that is right undoes them."""
        for what in locked:
            self._attacks.locked(what, address)

    def _undo_count(self, names: Lockout, key: str, address: str) -> None:
        names.undo_count(key)
        self._addresses.undo_count(address)

    def _key(self, name: str, address: str) -> str:
        """Return the key that counts failures of `name` from `address`.

        If the address has signed in under this name before, it has a count of its own: strangers who lock a card or a
        staff login lock out other strangers only.
        """
        return f"{name} from {address}" if (name, address) in self._known else name

    def _note_success(self, name: str, address: str) -> None:
        """Clear the failures of `name` after a sign-in, and remember the address as known."""
        self._names.forget(self._key(name, address))
        self._known[name, address] = None
        self._known.move_to_end((name, address))
        while len(self._known) > MAX_KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    async def _sign_in(
        self,
        kind: Literal["resident", "staff"],
        who: int,
        longest_ms: int,
        first: Callable[[sqlite3.Connection], None] | None = None,
    ) -> str:
        """Return a token valid for at most `longest_ms`; `first` runs in the same transaction, and may refuse."""
        token = secrets.token_urlsafe(32)
        now_ms = self._clock.wall().unix_ms

        def work(connection: sqlite3.Connection) -> None:
            if first is not None:
                first(connection)
            tokens.remove_expired_logins(connection, now_ms)
            tokens.add_login(connection, kind, who, token, now_ms, now_ms + longest_ms)
            tokens.keep_newest_logins(connection, kind, who, MAX_LOGINS)

        await self._storage.write_or_refuse(work)
        return token

    async def who(self, kind: Literal["resident", "staff"], token: str, active: bool = True) -> int:
        """Return the id of the person signed in; refuses signed_out. A page that refreshes itself is not `active`: the
        idle time goes on.
        """
        now_ms, idle_ms = self._clock.wall().unix_ms, self._idle_ms[kind]
        found = await self._storage.read(lambda c: tokens.login(c, kind, token, now_ms, idle_ms))
        if found is None:
            raise Refused("signed_out")
        if active and now_ms - found.used_unix_ms >= idle_ms // USED_STEPS:
            with contextlib.suppress(StorageFull):  # if not written, the sign-in ends sooner
                await self._storage.write(lambda c: tokens.use_login(c, token, now_ms))
        return found.who

    async def resident(self, token: str, at: str = "") -> ResidentView:
        resident_id = await self.who("resident", token)

        def look(connection: sqlite3.Connection) -> ResidentView:
            row = residents.by_id(connection, resident_id)
            if row is None:
                raise Refused("signed_out")
            balance = balance_fen(connection, ledger.wallet(resident_id))
            held = residents.held_fen(connection, resident_id)
            return ResidentView(resident_id, row.card, balance, held, row.group, row.guest)

        return await self._storage.read(look)

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        remove = tokens.remove_logins_like if everywhere else tokens.remove_login
        await self._storage.write_or_refuse(lambda c: remove(c, token))

    async def check_scope(self, bearer: str, scope: str) -> None:
        scopes = await self._storage.read(lambda c: tokens.scopes_of(c, bearer, self._clock.wall().unix_ms))
        if scope not in scopes:
            raise Refused("scope_missing" if scopes else "wrong_token")

    def close(self) -> None:
        self._hashing.shutdown(wait=False)


def _note_sign_in(
    connection: sqlite3.Connection, wall: WallTime, row: staff.StaffRow, address: str, recovery: bool = False
) -> None:
    """Add the audit entries of a staff login."""
    for action in ["recovery_code", "sign_in"] if recovery else ["sign_in"]:
        audit.add(connection, wall, Actor(StaffView(row.id, row.name, row.role), address), action)


def _staff_key(name: str) -> str:
    """Return the key that counts failures of that staff login, the same for every spelling of the name."""
    return f"staff {normal_form.login_name(name)}"


def _card_key(card: str) -> str:
    return f"card {normal_form.card(card)}"
