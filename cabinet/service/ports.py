"""The service's interface to the web: views to show and the few possible actions. Neither side's internals are here.

Views hold values, never sentences: the edge translates codes and numbers into the reader's language. Money is in fen,
energy in mWh, power in mW; times for people are `WallTime`.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from cabinet.clock import WallTime
from cabinet.model import EndReason, Fault, Snapshot

if TYPE_CHECKING:
    from cabinet.service.property_ports import OfficePort
    from cabinet.service.property_views import SecondStep

OutletCondition = Literal["free", "in_use", "needs_service", "unreachable"]
SessionState = Literal["authorised", "waiting_for_load", "charging", "suspended", "finished", "settled"]
ChoiceKind = Literal["full", "hours", "amount", "package"]

EndBasis = Literal["time", "package", "money", "longest", "taper"]
WALLET_MOVES = ("top_up", "pay_out", "write_off", "give_back", "hold", "settle")

USAGE_READ = "usage:read"  # scopes of an API token
SESSIONS_READ = "sessions:read"
CABINET_READ = "cabinet:read"
SCOPES = (USAGE_READ, SESSIONS_READ, CABINET_READ)


class OutletView(msgspec.Struct, frozen=True):
    """One outlet, public. `refusal`: the code of `model.REFUSALS` if no charge can start here now."""

    number: int
    code: str
    condition: OutletCondition
    refusal: str | None
    fault: Fault | None
    session_id: str | None
    power_mw: int | None
    temperature_mc: int | None
    energy_today_mwh: int
    note: str = ""  # the staff's note if the outlet is out of service


class BandPrice(msgspec.Struct, frozen=True):
    from_w: int
    to_w: int | None
    fen_per_hour: int
    package_percent: int = 100  # share of its bought time that a package lasts in this band


class PeriodPrice(msgspec.Struct, frozen=True):
    start: str
    end: str
    electricity_fen: int  # for the tariff's `priced_kwh`
    days: Literal["every", "workday", "holiday"] = "every"


class PackagePrice(msgspec.Struct, frozen=True):
    seconds: int
    fen: int


class PriceView(msgspec.Struct, frozen=True):
    """The posted tariff. `example_fen` is the price of `example_minutes` at `example_power_w`, starting now."""

    version: str
    start_fee_fen: int
    priced_kwh: int  # the amount of energy that energy prices refer to
    service_fen: int
    free_minutes: int
    minimum_fen: int
    cap_fen: int | None
    bands: list[BandPrice]
    periods: list[PeriodPrice]
    example_minutes: int
    example_power_w: int
    example_fen: int
    day_cap_fen: int | None = None
    time_step_s: int = 1
    packages: list[PackagePrice] = []


class ResidentView(msgspec.Struct, frozen=True):
    resident_id: int
    card: str
    balance_fen: int  # free to spend
    held_fen: int
    group: str = ""  # selects the tariff
    guest: bool = False  # has no card; the property gave access for a limited time


class CostLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill: `quantity` × `unit_price_fen` (`per` hours or kWh, or once), rounded down to the fen.

    `kind`: start_fee, time (seconds; `detail` is the band "200-400"), electricity (mWh; `detail` is the period
    "08:00-22:00"), service (mWh), minimum, cap, free; package (seconds; `unit_price_fen` is for the whole package,
    `detail` is the band and the seconds that the package lasts in it, "200-400 10800").
    """

    kind: Literal["start_fee", "time", "package", "electricity", "service", "minimum", "cap", "free"]
    quantity: int
    unit: Literal["once", "s", "mWh"]
    unit_price_fen: int
    amount_fen: int
    detail: str = ""
    per: int = 1


class ExpectedEnd(msgspec.Struct, frozen=True):
    """The forecast end of a charge: `left_s` from now, at the time `at`; `basis` is the reason.

    time, package, money: the bought time or the prepaid money is used up, at the present power; longest: the longest
    charge allowed; taper: extrapolation of the falling power.
    """

    left_s: int
    at: WallTime
    basis: EndBasis


class SessionView(msgspec.Struct, frozen=True):
    """A charge as its resident sees it; the receipt, if it is settled."""

    session_id: str
    order_number: str
    outlet: int
    code: str
    state: SessionState
    choice: ChoiceKind
    choice_amount: int  # seconds for hours, fen for amount, 0 for full
    started: WallTime
    ended: WallTime | None
    powered_s: int
    charging_s: int
    energy_mwh: int
    power_mw: int | None  # now; None if not known
    lines: list[CostLine]
    cost_fen: int
    held_fen: int
    refund_fen: int | None  # when settled
    tariff_version: str
    end_reason: EndReason | None
    fault: Fault | None
    wait_left_s: int | None  # while waiting for load
    usage_number: int | None  # of the usage record, when settled
    record_hash: str | None = None  # of the usage record, on the receipt
    suspended_for: Fault | None = None  # the passing fault, if one is the reason for the suspension
    hour_fen: int | None = None  # price of an hour at the present power, while charging
    expected_end: ExpectedEnd | None = None  # None if not known yet
    latest_end: ExpectedEnd | None = None  # while charging: the charge ends then even if the battery is not full


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """Mean power over one step of the curve, `at_s` of powered time after the start."""

    at_s: int
    power_w: int


class StartChoice(msgspec.Struct, frozen=True):
    kind: ChoiceKind
    seconds: int | None = None  # for hours: 1800 to 36000 in steps of 1800
    amount_fen: int | None = None  # for amount: 100 to 5000


class ChargesPage(msgspec.Struct, frozen=True):
    """One page of charges, newest first; `older` is the `before` of the next page, None on the last page."""

    charges: list[SessionView]
    older: int | None


class WalletLine(msgspec.Struct, frozen=True, gc=False):
    """One movement of a resident's money: `amount_fen` into the wallet, or out of it if negative.

    `kind` is one of `WALLET_MOVES`, or "other"; hold and settle are the money that a charge holds and refunds.
    """

    number: int
    moment: WallTime
    kind: str
    amount_fen: int
    balance_fen: int  # after this movement
    session_id: str | None  # of the charge, if the movement belongs to one


class StatementPage(msgspec.Struct, frozen=True):
    """One page of the wallet's movements; order and `older` as in `ChargesPage`."""

    lines: list[WalletLine]
    older: int | None


class WaitingView(msgspec.Struct, frozen=True):
    """A resident's own entry in the power queue.

    `place` 1 is the next to start; None if the entry failed. `outcome` is then the reason: a code of
    `model.REFUSALS`, or "expired" after half an hour without power.
    """

    outlet: int
    code: str
    choice: ChoiceKind
    choice_amount: int
    place: int | None
    outcome: str | None


class CabinetView(msgspec.Struct, frozen=True):
    """The cabinet as a whole. `fault` has opened every outlet; `waiting` is the length of the power queue."""

    fault: Fault | None
    latched: bool
    siren: bool
    feed_mw: int | None
    feed_limit_mw: int | None
    waiting: int


class DayFigures(msgspec.Struct, frozen=True):
    sessions: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int  # all charges other than electricity
    feed_mw: int | None


class Unclosed(msgspec.Struct, frozen=True):
    """A past month of the usage log that could not be closed. `why` selects the text `unclosed.<why>`."""

    month: str  # such as 2026-10
    why: str  # clock, storage or key


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One settled session in the usage log. `record_hash` = SHA-256 of its canonical JSON, `previous_hash` included."""

    number: int  # gapless from 1
    order_number: str
    session_id: str
    site_id: str
    outlet: int
    card: str = ""  # masked: last four characters; empty if the resident is erased. Not part of the hash
    started: WallTime
    ended: WallTime
    powered_s: int
    charging_s: int
    energy_mwh: int
    peak_power_mw: int
    mean_power_mw: int
    lines: list[CostLine]
    electricity_fen: int
    service_fen: int
    total_fen: int
    held_fen: int
    refund_fen: int
    end_reason: EndReason
    fault: Fault | None
    tariff_version: str
    previous_hash: str
    record_hash: str = ""
    holder: str = ""  # pseudonym of the resident: a random word, meaningless without the resident's own row


class UsageFilter(msgspec.Struct, frozen=True):
    """A selection of usage records: number above `after`, end time in [from, to), one outlet, one holder."""

    after: int = 0
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    outlet: int | None = None
    holder: str | None = None


class Closing(msgspec.Struct, frozen=True):
    """The closing of a month: sums of records `first_number` to `last_number`, and the hash of the last one."""

    number: int  # of the closing, gapless from 1
    site_id: str
    month: str  # the month closed, such as 2026-11
    first_number: int
    last_number: int
    last_hash: str
    energy_mwh: int
    electricity_fen: int
    service_fen: int
    made: WallTime
    key: str  # public, base64


class Signed(msgspec.Struct, frozen=True):
    closing: Closing
    signature: str  # of the closing's canonical JSON, base64


class UsageHead(msgspec.Struct, frozen=True):
    """The last record of a day. A copy kept elsewhere reveals later changes to that record or to an earlier one."""

    day: str  # in the site's time zone, such as 2026-11-30
    site_id: str
    number: int
    record_hash: str


class ResidentPort(Protocol):
    """Residents' interface. A method that cannot act raises `Refused` (code: `model.REFUSALS`) and changes nothing."""

    def outlet(self, code: str) -> OutletView: ...
    def price(self, code: str, group: str, power_w: int | None = None) -> PriceView:
        """Return the prices for a charge that begins now at this outlet, for a resident of `group` ("" if not known).

        The example is for a charger of `power_w`, if that is known. Refuses unknown_code.
        """

    async def sign_in(self, card: str, pin: str, address: str) -> str:
        """Return a session token for the cookie.

        Refuses wrong_card_or_pin (one code for both), locked_out(retry_after_s).
        """

    async def sign_in_guest(self, code: str, address: str) -> str:
        """As `sign_in`, with a code that is valid once; refuses wrong_code, locked_out(retry_after_s)."""

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        """Sign out; with `everywhere`, on every phone of the same resident."""

    async def resident(self, token: str) -> ResidentView:
        """Return the resident who is signed in with `token`. Refuses signed_out."""

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        """Start a charge. If `request_key` repeats, return the same session and start nothing."""

    async def wait(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        """Join the power queue for this outlet; the charge starts in turn. No money is held until then. Idempotent.

        Refuses as `start` does, except for lack of power; refuses reserved if another resident waits for this outlet.
        """

    async def leave(self, resident_id: int) -> None:
        """Leave the power queue. Idempotent."""

    def waiting(self, resident_id: int) -> WaitingView | None: ...
    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        """Stop the charge; return when the outlet is open and the session settled, or after 3 s. Idempotent."""

    async def session(self, resident_id: int, session_id: str) -> SessionView: ...
    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        """Return the resident's sessions, newest first."""

    async def charges(self, resident_id: int, before: int | None, limit: int) -> ChargesPage: ...
    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage: ...
    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]: ...
    def changes(self, outlet: int) -> AsyncIterator[None]:
        """Yield at once, then whenever the view of this outlet may have changed; at most twice a second."""


class AttackView(msgspec.Struct, frozen=True):
    """Suspected guessing of PINs or passwords: the number of recent `locks`, and the `address` of the last one."""

    locks: int
    address: str


class PropertyPort(Protocol):
    @property
    def office(self) -> "OfficePort":
        """The functions that need a role."""

    async def sign_in_staff(self, name: str, password: str, address: str) -> "str | SecondStep":
        """Return a token, or the key for `sign_in_staff_code` if the login has a second factor.

        Refuses wrong_card_or_pin, locked_out, storage_full.
        """

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        """Return a token for a valid second factor. Refuses expired, wrong_second_factor, locked_out, storage_full."""

    async def sign_out_staff(self, token: str, everywhere: bool = False) -> None: ...
    async def token_allows(self, bearer: str, scope: str) -> None:
        """Check an API token. Refuses wrong_token; scope_missing if the token is valid but lacks the scope."""

    def outlets(self) -> list[OutletView]: ...
    async def today(self) -> DayFigures: ...
    async def todays_sessions(self) -> list[SessionView]: ...
    def attack(self) -> AttackView | None:
        """Return the suspected attack; None if no card, login or address was locked out recently."""

    def tariff_mistakes(self) -> list[str]:
        """Return the mistakes in tariff files, one line each; a file with mistakes is not used."""

    async def usage(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        """Return the records that match `wanted`, in order of number; at most 1000, even if `limit` is higher."""

    async def usage_closings(self) -> list[Signed]:
        """Return the closings of all months, the oldest first."""

    async def usage_heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        """Return the head of every day with a charge that ended in [from, to), the oldest first."""

    async def usage_key(self) -> str:
        """Return the public key that verifies closings, base64."""

    def cabinet(self) -> CabinetView: ...
    def snapshot(self) -> Snapshot:
        """Return the guard's last published snapshot; refuses guard_unreachable."""

    def guard_reachable(self) -> bool: ...
    def accepting(self) -> str | None:
        """Return the code if no new sessions start (guard_unreachable, storage_full), else None."""

    def cabinet_changes(self) -> AsyncIterator[None]:
        """As `ResidentPort.changes`, for the whole cabinet."""
