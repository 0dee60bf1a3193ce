"""Sign-in of residents over PostgreSQL: the fleet's implementation of `ports.ResidentAccountsPort`, and codes by SMS.

The outlet's printed code decides which company a person is a resident of. Failures are counted in the database, so
that they count over all web processes: each attempt is noted before its secret is checked, and taken back if it was
right. An unknown card costs the same work as a known one.
"""

import asyncio
import datetime
import hashlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.secret_hash import matches
from cabinet.service.ports import ResidentView
from fleet.config import FleetConfig
from fleet.store import cabinets, database, logins, pages, residents
from fleet.store.database import Connection, Pool
from fleet.store.residents import FleetResidentRow
from fleet.web.sms import SmsNotSent, SmsPort

MAX_FAILURES_PER_NAME = 5  # the limits of a cabinet, see cabinet.service.accounts
MAX_FAILURES_PER_ADDRESS = 20
LOCKED = datetime.timedelta(seconds=300)
CODE_DIGITS = 6
MAX_TRIES_PER_CODE = 5
CODE_GAP = datetime.timedelta(seconds=60)  # between two codes for one phone
MAX_CODES_PER_ADDRESS = 20  # in an hour; many phones share the address of their mobile network
HOUR = datetime.timedelta(hours=1)
USED_AGAIN_S = 6 * 3600  # the last use of a sign-in is written at most so often

LENGTH_OF_PHONE = 11
_PHONE = re.compile(r"1[3-9][0-9]{9}")


class Attempts:
    """Limits of sign-in attempts over all web processes.

    An address that has signed in under a name before has a count of its own: strangers who lock a card, phone or login
    lock out other strangers only.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, name: str, address: str) -> None:
        """Note an attempt for the name and the address. Refuses locked_out."""
        async with self._pool.connection() as connection:
            counted = await self._key(connection, name, address)
            keys = {counted: MAX_FAILURES_PER_NAME, f"address:{address}": MAX_FAILURES_PER_ADDRESS}
            locked = await pages.attempt(connection, keys, LOCKED)
            if locked is None:
                return
            left = locked[1] + LOCKED - await pages.now(connection)
        raise Refused("locked_out", retry_after_s=max(1, round(left.total_seconds())))

    async def was_right(self, connection: Connection, name: str, address: str) -> None:
        """Clear the failures of the name; the address keeps its other ones: an own card must not allow guessing."""
        await logins.forget_failures(connection, await self._key(connection, name, address))
        await pages.take_back(connection, f"address:{address}")
        await pages.know(connection, name, address)

    async def _key(self, connection: Connection, name: str, address: str) -> str:
        return f"{name} from {address}" if await pages.is_known(connection, name, address) else name


class Hashing:
    """Checks secrets in a thread, one at a time, to limit memory."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "hashing")

    async def matches(self, secret_hash: str | None, secret: str) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._thread, matches, secret_hash, secret)


class FleetAccounts:
    """Implements `ports.ResidentAccountsPort`; `send_code` and `sign_in_phone` are for the fleet's own pages."""

    def __init__(
        self, pool: Pool, config: FleetConfig, sms: SmsPort | None, attempts: Attempts, hashing: Hashing
    ) -> None:
        self._pool = pool
        self._web = config.web
        self._limits = config.sms
        self._sms = sms
        self._attempts = attempts
        self._hashing = hashing

    @property
    def by_phone(self) -> bool:
        """Return whether residents can sign in by phone."""
        return self._sms is not None

    # --- card and PIN ------------------------------------------------------------------------------------------------

    async def sign_in(self, card: str, pin: str, address: str, at: str = "") -> str:
        company_id = await self._company_at(at)
        name = f"card:{company_id}:{normal_form.card(card)}"
        await self._attempts.begin(name, address)
        async with self._pool.connection() as connection:
            row = await residents.by_card(connection, company_id, card)
        right = await self._hashing.matches(None if row is None else row.pin_hash, normal_form.digits(pin))
        if row is None or not right:
            raise Refused("wrong_card_or_pin")
        async with self._pool.connection() as connection:
            await self._attempts.was_right(connection, name, address)
        return await self._signed_in(row)

    async def sign_in_guest(self, code: str, address: str) -> str:
        raise Refused("wrong_code")  # guests are guests of one cabinet

    # --- phone -------------------------------------------------------------------------------------------------------

    async def send_code(self, phone: str, address: str, at: str) -> str:
        """Send a code to a phone; return the phone's number as it is kept.

        The answer is the same for known and unknown phones. Refuses bad_phone, no_outlet, sms_failed;
        too_many_requests (limits of the phone, the address and the fleet).
        """
        if self._sms is None:
            raise Refused("bad_request")
        phone = phone_of(phone)
        company_id = await self._company_at(at)
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
        lasts = datetime.timedelta(minutes=self._limits.code_minutes)
        async with self._pool.connection() as connection:
            await pages.take_turns(connection, "sms")
            for most, within, phone_counted, address_counted in (
                (1, CODE_GAP, phone, None),
                (self._limits.codes_per_phone_hour, HOUR, phone, None),
                (MAX_CODES_PER_ADDRESS, HOUR, None, address),
                (self._limits.codes_per_hour, HOUR, None, None),
            ):
                sent = await logins.sms_codes_sent(connection, within, phone=phone_counted, address=address_counted)
                if sent >= most:
                    raise Refused("too_many_requests", retry_after_s=round(within.total_seconds()))
            await logins.add_sms_code(
                connection, company_id, phone, _code_hash(company_id, phone, code), lasts, address
            )
        try:
            await self._sms.send(phone, code)
        except SmsNotSent:
            raise Refused("sms_failed") from None
        return phone

    async def sign_in_phone(self, phone: str, code: str, address: str, at: str) -> str:
        """Return a token for the right code; a phone that the company does not know gets an account.

        Refuses bad_phone, no_outlet, wrong_code, locked_out, card_blocked.
        """
        phone, code = phone_of(phone), normal_form.digits(code)
        company_id = await self._company_at(at)
        name = f"phone:{company_id}:{phone}"
        await self._attempts.begin(name, address)
        async with self._pool.connection() as connection:
            right = await logins.use_sms_code(
                connection, company_id, phone, _code_hash(company_id, phone, code), MAX_TRIES_PER_CODE
            )
            if right:
                await self._attempts.was_right(connection, name, address)
                row = await residents.by_phone(connection, company_id, phone)
                if row is None:
                    resident_id = await residents.add(connection, company_id, phone=phone)
                    row = await residents.get(connection, company_id, resident_id)
        if not right:  # after the commit of the try
            raise Refused("wrong_code")
        assert row is not None
        return await self._signed_in(row)

    # --- tokens ------------------------------------------------------------------------------------------------------

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        async with self._pool.connection() as connection:
            await logins.remove(connection, token_hash(token), everywhere=everywhere)

    async def resident(self, token: str, at: str = "") -> ResidentView:
        hashed = token_hash(token)
        async with database.reading(self._pool) as connection:
            row = await pages.signed_in(connection, hashed, at)
            if row is None:
                raise Refused("signed_out")
            if row.unused_s > USED_AGAIN_S:
                await logins.touch(connection, hashed)
        return ResidentView(
            row.id,
            row.card or "",
            row.balance_fen,
            row.held_fen,
            row.tariff_group,
            phone="" if row.card or not row.phone else masked_phone(row.phone),
        )

    async def _signed_in(self, row: FleetResidentRow) -> str:
        if row.blocked or row.erased:
            raise Refused("card_blocked")
        token = secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            lasts = datetime.timedelta(days=self._web.resident_days)
            await logins.add(connection, token_hash(token), lasts, resident_id=row.id)
        return token

    async def _company_at(self, code: str) -> int:
        """Return the company of the outlet with this code, or the only one of the fleet. Refuses no_outlet."""
        async with self._pool.connection() as connection:
            outlet = await cabinets.by_code(connection, code) if code else None
            company_id = await pages.only_company(connection) if outlet is None else outlet.company_id
        if company_id is None:
            raise Refused("no_outlet")
        return company_id


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def phone_of(typed: str) -> str:
    """Return a mobile number of mainland China as 11 digits. Refuses bad_phone."""
    found = normal_form.digits(typed).removeprefix("+")
    if len(found) > LENGTH_OF_PHONE:
        found = found.removeprefix("86")
    if not _PHONE.fullmatch(found):
        raise Refused("bad_phone")
    return found


def masked_phone(phone: str) -> str:
    return f"{phone[:3]}****{phone[-4:]}"


def _code_hash(company_id: int, phone: str, code: str) -> str:
    return hashlib.sha256(f"{company_id}:{phone}:{code}".encode()).hexdigest()
