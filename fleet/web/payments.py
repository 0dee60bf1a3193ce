"""Payments of residents over the database: who pays, by which account, and how it stands. Pages are in `pay`."""

import datetime
import re
import secrets
from typing import Literal

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import Refused
from fleet.config import FleetConfig
from fleet.money import offering, paying
from fleet.money.paying import PaymentWanted, Taken
from fleet.money.payments.accounts import MerchantAccount, MerchantAccounts
from fleet.money.payments.port import Notification, PlatformError, PlatformRefused, Way
from fleet.store import cabinets, logins, merchants, pages, payments, residents
from fleet.store.database import Pool
from fleet.store.payments import PaymentRow
from fleet.web.accounts import token_hash
from fleet.web.views import wall

NEW_PER_ADDRESS = 60  # people without a sign-in who pay, in an hour; many phones share the address of their network
HOUR = datetime.timedelta(hours=1)

_OF_TEXT = re.compile(r"[^\w ]")


class PaymentIntent(msgspec.Struct, frozen=True):
    """The wish of a tap: a charge at the outlet `code`, or else a top-up. The browser keeps it until it is begun."""

    amount_fen: int
    key: str
    code: str = ""
    choice: str = ""  # amount or full
    nonce: str = ""  # as in the address that the platform leads back to


class PaymentView(msgspec.Struct, frozen=True):
    """A payment as its resident sees it. `refund_fen`: on its way back, or back if `state` is returned."""

    number: str
    state: str
    purpose: str
    platform: str
    amount_fen: int
    code: str
    bridge: dict[str, str]
    link: str
    order_number: str | None
    refusal: str | None
    refund_fen: int
    made: WallTime

    @property
    def open(self) -> bool:
        """True while the platform may take money for it."""
        return self.state in ("created", "offered", "closing")


class _Offer(msgspec.Struct):
    bridge: dict[str, str] = {}
    link: str = ""


class PayingResident(msgspec.Struct, frozen=True):
    """The resident who pays, and a new sign-in for the browser if it had none."""

    resident_id: int
    token: str = ""


class FleetPayments:
    def __init__(self, pool: Pool, config: FleetConfig, accounts: MerchantAccounts) -> None:
        self._pool = pool
        self._rules = config.orders
        self._resident_days = config.web.resident_days
        self._accounts = accounts

    def are_offered(self) -> bool:
        """Return whether any company of the fleet offers payments."""
        return self._accounts.any_offered

    async def offered(self, intent: PaymentIntent, resident_id: int | None) -> dict[str, MerchantAccount]:
        """Return the accounts by which an intent can be paid, by platform. Refuses unknown_code, signed_out."""
        async with self._pool.connection() as connection:
            if intent.code:
                outlet = await cabinets.by_code(connection, intent.code)
                company_id = None if outlet is None else outlet.company_id
                if company_id is None:
                    raise Refused("unknown_code")
            else:
                company_id = None if resident_id is None else await pages.company_of_resident(connection, resident_id)
                if company_id is None:
                    raise Refused("signed_out")
        return await self._accounts.offered(self._pool, company_id)

    async def charge_fen(self, code: str, choice: Literal["amount", "full"], amount_fen: int) -> int:
        """Return the amount to pay for a charge. Refuses unknown_code, unknown_tariff, bad_choice, no_money."""
        async with self._pool.connection() as connection:
            return await paying.needed_fen(connection, self._rules, code, choice, amount_fen)

    # --- who pays ----------------------------------------------------------------------------------------------------

    async def stranger(self, account: MerchantAccount, address: str) -> PayingResident:
        """Return a new resident, signed in: a person in a plain browser. Refuses too_many_requests."""
        async with self._pool.connection() as connection:
            locked = await pages.attempt(connection, {f"payer:{address}": NEW_PER_ADDRESS}, HOUR)
        if locked is not None:
            raise Refused("too_many_requests", retry_after_s=int(HOUR.total_seconds()))
        async with self._pool.connection() as connection:
            resident_id = await residents.add(connection, account.row.company_id)
        return await self._signed_in(resident_id)

    async def payer_of(
        self, account: MerchantAccount, code: str, resident_id: int | None
    ) -> tuple[PayingResident, str]:
        """Return the resident that the platform names for `code`, and that name; a visitor who is signed in stays so.

        Refuses platform_unreachable, bad_request.
        """
        try:
            named = await account.platform.payer_of(code)
        except PlatformRefused:
            raise Refused("bad_request") from None
        except PlatformError:
            raise Refused("platform_unreachable") from None
        if resident_id is not None:
            return PayingResident(resident_id), named
        row = account.row
        async with self._pool.connection() as connection:
            found = await merchants.resident_of(connection, row.company_id, row.platform, row.app, named)
        return await self._signed_in(found), named

    async def _signed_in(self, resident_id: int) -> PayingResident:
        token = secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            lasts = datetime.timedelta(days=self._resident_days)
            await logins.add(connection, token_hash(token), lasts, resident_id=resident_id)
        return PayingResident(resident_id, token)

    # --- payments ----------------------------------------------------------------------------------------------------

    async def begin(
        self, account: MerchantAccount, resident_id: int, intent: PaymentIntent, way: Way, payer: str, address: str
    ) -> str:
        """Begin a payment and have it offered; return its number. The same intent again is the same payment.

        Another open payment is closed first; if it turns out to be paid, its number is returned. A platform that gives
        no answer leaves the payment open: its page says so. Refuses as `paying.begin`, and platform_unreachable.
        """
        wanted = PaymentWanted(
            purpose="charge" if intent.code else "wallet", amount_fen=intent.amount_fen, way=way, code=intent.code,
            choice=intent.choice, address=address,
        )  # fmt: skip
        try:
            row = await self._begun(account, resident_id, wanted, intent.key)
        except Refused as refusal:
            if refusal.code != "payment_open":
                raise
            paid = await self._closed_first(account.row.company_id, resident_id)
            if paid is not None:
                return paid
            row = await self._begun(account, resident_id, wanted, intent.key)
        if row.state != "created":
            return row.number
        try:
            text = await self._description(row)
            await offering.offer(self._pool, self._accounts, account, self._rules, row, payer, text)
        except PlatformRefused:
            raise Refused("platform_unreachable") from None
        except PlatformError:
            return row.number
        return row.number

    async def _begun(self, account: MerchantAccount, resident_id: int, wanted: PaymentWanted, key: str) -> PaymentRow:
        async with self._pool.connection() as connection:
            return await paying.begin(connection, account, resident_id, wanted, key, self._accounts.expires())

    async def _closed_first(self, company_id: int, resident_id: int) -> str | None:
        """Close the resident's open payment; return its number if it was paid."""
        async with self._pool.connection() as connection:
            row = await payments.open_of(connection, company_id, resident_id)
        if row is None:
            return None
        row = await self._close(row, "another way to pay")
        return row.number if row.paid is not None else None

    async def _close(self, row: PaymentRow, why: str) -> PaymentRow:
        account = await self._accounts.find(self._pool, row.account_id)
        if account is None:
            return row
        return await offering.close(self._pool, account, self._rules, row, why)

    async def cancel(self, resident_id: int, number: str) -> PaymentView:
        """Close a payment that its resident does not want to make. Refuses no_payment."""
        row = await self._own(resident_id, number)
        if row.state in ("created", "offered"):
            await self._close(row, "wanted no more")
        return await self.view(resident_id, number)

    async def view(self, resident_id: int, number: str) -> PaymentView:
        """Return the resident's payment. Refuses no_payment."""
        row = await self._own(resident_id, number)
        account = await self._accounts.find(self._pool, row.account_id)
        async with self._pool.connection() as connection:
            back = await payments.refunds(connection, row.company_id, number)
        offer = msgspec.convert(row.offer or {}, _Offer)
        return PaymentView(
            number, row.state, row.purpose, "" if account is None else account.row.platform, row.amount_fen, row.code,
            offer.bridge, offer.link, row.order_number, row.refusal, sum(each.amount_fen for each in back),
            wall(row.made),
        )  # fmt: skip

    async def send_back(self, resident_id: int) -> int:
        """Send the rest of top-ups back; return the fen. Refuses no_money."""
        async with self._pool.connection() as connection:
            company_id = await pages.company_of_resident(connection, resident_id)
            if company_id is None:
                raise Refused("signed_out")
            return await paying.want_back(connection, company_id, resident_id)

    async def notified(self, account: MerchantAccount, report: Notification) -> Taken:
        return await offering.took(self._pool, account, self._rules, report)

    async def account(self, platform: str, account_id: int) -> MerchantAccount | None:
        """Return an account by the address that its platform notifies."""
        found = await self._accounts.find(self._pool, account_id)
        return found if found is not None and found.row.platform == platform else None

    def now_s(self) -> float:
        return self._accounts.now_s()

    async def _own(self, resident_id: int, number: str) -> PaymentRow:
        async with self._pool.connection() as connection:
            company_id = await pages.company_of_resident(connection, resident_id)
            row = None if company_id is None else await payments.get(connection, company_id, number)
        if row is None or row.resident_id != resident_id:
            raise Refused("no_payment")
        return row

    async def _description(self, row: PaymentRow) -> str:
        """Return what the platform shows the person; both take letters, digits and spaces."""
        if not row.code:
            return "充电钱包充值"
        async with self._pool.connection() as connection:
            outlet = await cabinets.by_code(connection, row.code)
            cabinet = None if outlet is None else await cabinets.get(connection, outlet.company_id, outlet.cabinet)
        if outlet is None or cabinet is None:
            return "充电"
        return _OF_TEXT.sub(" ", f"充电 {cabinet.site} {outlet.number}号插座")[:40]
