"""The port of a payment platform: what the fleet asks of WeChat Pay and Alipay, and what they report.

Amounts are in fen. An adapter verifies signature, age and form of everything that it returns; whether a report fits a
payment is decided in `checks`, against our own row.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from cabinet.errors import CabinetError

Platform = Literal["wechat", "alipay"]
Way = Literal["in_app", "browser"]
"""Inside the platform's own app, with its pay sheet over our page; or from any browser, which opens the app."""

PaidState = Literal["absent", "unpaid", "paid", "closed"]
RefundState = Literal["absent", "processing", "done", "failed"]

CURRENCY = "CNY"
MAX_NOTIFICATION_AGE_S = 300
MAX_NOTIFICATION = 64 * 1024  # bytes


class PlatformError(CabinetError):
    """A call to a platform that gave no result; `code` is the platform's own, or names the failure."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


class ResultUnknown(PlatformError):
    """The call may have had its effect: no answer, a server's error, or an answer that is not signed. Query, and never
    assume."""


class RateLimited(PlatformError):
    """The platform did nothing because of too many requests; the same call is right later."""


class PlatformRefused(PlatformError):
    """The platform refused the call for good: nothing was done."""


class NotificationRefused(CabinetError):
    """A notification that is not accepted. `probe`: a deliberately wrong signature, by which a platform tests us."""

    def __init__(self, reason: str, *, probe: bool = False) -> None:
        super().__init__(reason)
        self.probe = probe


class PaymentRequest(msgspec.Struct, frozen=True):
    """A payment to be offered. `payer` is the platform's name of the person, needed for `in_app`."""

    number: str
    amount_fen: int
    description: str
    expires: datetime.datetime
    notify_url: str
    return_url: str
    way: Way
    payer: str = ""
    address: str = ""  # of the phone, for `browser`


class PaymentOffer(msgspec.Struct, frozen=True):
    """A way to pay: `bridge` are the arguments of the app's own pay sheet, or `link` is to be opened."""

    bridge: dict[str, str] = {}
    link: str = ""


class PaymentReport(msgspec.Struct, frozen=True):
    """A payment as the platform has it. `refunded` says that some or all of it went back."""

    number: str
    state: PaidState
    merchant: str = ""
    app: str = ""
    amount_fen: int = 0
    currency: str = CURRENCY
    platform_number: str = ""
    payer: str = ""
    paid: datetime.datetime | None = None


class RefundRequest(msgspec.Struct, frozen=True):
    """A refund of a part or all of a payment. The same `refund_number` again asks for the same refund, once."""

    payment_number: str
    refund_number: str
    amount_fen: int
    payment_fen: int
    reason: str
    notify_url: str


class RefundReport(msgspec.Struct, frozen=True):
    """A refund as the platform has it; `failure` is its reason if it failed."""

    payment_number: str
    refund_number: str
    state: RefundState
    merchant: str = ""
    amount_fen: int = 0
    platform_number: str = ""
    failure: str = ""


Notification = PaymentReport | RefundReport


class BillLine(msgspec.Struct, frozen=True):
    """A line of a platform's bill of a day: a payment, or a refund (`refund_number` is set), and its fee."""

    payment_number: str
    refund_number: str
    amount_fen: int
    fee_fen: int  # below 0: the fee of a payment that goes back with a refund
    platform_number: str


class PaymentPlatform(Protocol):
    """One merchant account at one platform. Every call raises ResultUnknown, RateLimited or PlatformRefused."""

    @property
    def merchant(self) -> str:
        """Return the merchant that gets the money, as the platform names it."""

    @property
    def app(self) -> str: ...

    async def create(self, request: PaymentRequest) -> PaymentOffer:
        """Offer a payment. The same request again gives an offer of the same payment."""

    async def query(self, number: str) -> PaymentReport:
        """Return the payment; `absent` if the platform does not know it (not yet, or never)."""

    async def close(self, number: str) -> bool:
        """Close an unpaid payment; return False if the platform did not close it, because it was paid or for another
        reason: query it then."""

    async def refund(self, request: RefundRequest) -> RefundReport:
        """Ask for a refund. `processing` means accepted only."""

    async def query_refund(self, payment_number: str, refund_number: str) -> RefundReport: ...

    async def parse_notification(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Notification:
        """Verify and read a notification; header names are in lower case. Raises NotificationRefused."""

    async def bill(self, day: datetime.date) -> Sequence[BillLine]:
        """Return all payments and refunds of a day, by the platform's time (China). Empty if there were none."""

    async def payer_of(self, code: str) -> str:
        """Return the platform's name of the person who came back from `login_url` with `code`."""

    def login_url(self, back: str, state: str) -> str:
        """Return the address that leads a person in the app to `back`, with a code for `payer_of` and `state`."""
