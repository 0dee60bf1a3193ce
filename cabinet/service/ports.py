"""What the web may ask of the service: views to show and the few things to do. No insides of either side here.

Views hold values, never sentences: codes and numbers are turned into the reader's language at the edge. Money is in
fen, energy in mWh, power in mW, times for people are `WallTime`.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from cabinet.clock import WallTime
from cabinet.model import EndReason, Fault, Snapshot

if TYPE_CHECKING:
    from cabinet.service.office_ports import OfficePort
    from cabinet.service.office_views import SecondStep

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
    """One outlet for anybody. `refusal` is why it cannot be started now (a code of `model.REFUSALS`)."""

    number: int
    code: str
    condition: OutletCondition
    refusal: str | None
    fault: Fault | None
    session_id: str | None
    power_mw: int | None
    temperature_mc: int | None
    energy_today_mwh: int
    note: str = ""  # what staff wrote about an outlet out of service


class BandPrice(msgspec.Struct, frozen=True):
    from_w: int
    to_w: int | None
    fen_per_hour: int
    package_percent: int = 100  # of a package's time that counts for it


class PeriodPrice(msgspec.Struct, frozen=True):
    start: str
    end: str
    electricity_fen: int  # for the tariff's `priced_kwh`
    days: Literal["every", "workday", "holiday"] = "every"


class PackagePrice(msgspec.Struct, frozen=True):
    seconds: int
    fen: int


class PriceView(msgspec.Struct, frozen=True):
    """The posted tariff. `example_fen` is what two hours at `example_power_w` from now would cost."""

    version: str
    start_fee_fen: int
    priced_kwh: int  # that prices of energy are for
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
    group: str = ""  # that tariffs go by
    guest: bool = False  # somebody without a card, whom the property office let in for a while


class CostLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill: `quantity` × `unit_price_fen` (`per` hours or kWh, or once), rounded down to the fen.

    `kind`: start_fee, time (seconds; `detail` is the band "200-400"), electricity (mWh; `detail` is the period
    "08:00-22:00"), service (mWh), minimum, cap, free; package (seconds; `unit_price_fen` is for the whole of it,
    `detail` is the band and how many seconds it lasts there, "200-400 10800").
    """

    kind: Literal["start_fee", "time", "package", "electricity", "service", "minimum", "cap", "free"]
    quantity: int
    unit: Literal["once", "s", "mWh"]
    unit_price_fen: int
    amount_fen: int
    detail: str = ""
    per: int = 1


class ExpectedEnd(msgspec.Struct, frozen=True):
    """`left_s` from now, which is `at`; `basis` is what it follows from.

    time, package, money: what was bought or prepaid is used up, at the present power; longest: no charge is longer;
    taper: the way the power falls.
    """

    left_s: int
    at: WallTime
    basis: EndBasis


class SessionView(msgspec.Struct, frozen=True):
    """A charge as its resident sees it; after `settled` it is the receipt."""

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
    power_mw: int | None  # now; None: not known
    lines: list[CostLine]
    cost_fen: int
    held_fen: int
    refund_fen: int | None  # once settled
    tariff_version: str
    end_reason: EndReason | None
    fault: Fault | None
    wait_left_s: int | None  # while waiting for load
    usage_number: int | None  # of the usage record, once settled
    record_hash: str | None = None  # the record's own, on the receipt
    suspended_for: Fault | None = None  # what it is suspended for, where it is a fault that passes
    hour_fen: int | None = None  # what an hour costs at the present power, while it charges
    expected_end: ExpectedEnd | None = None  # None: not known yet
    latest_end: ExpectedEnd | None = None  # while it charges: it ends then even if it is not full


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """Mean power over one step of the curve, `at_s` of powered time after the start."""

    at_s: int
    power_w: int


class StartChoice(msgspec.Struct, frozen=True):
    kind: ChoiceKind
    seconds: int | None = None  # for hours: 1800 to 36000 in steps of 1800
    amount_fen: int | None = None  # for amount: 100 to 5000


class ChargesPage(msgspec.Struct, frozen=True):
    """Newest first; `older` is the `before` of the next page, None on the last."""

    charges: list[SessionView]
    older: int | None


class WalletLine(msgspec.Struct, frozen=True, gc=False):
    """One movement of a resident's money: `amount_fen` into the wallet, or out of it where negative.

    `kind` is one of `WALLET_MOVES`, or "other"; hold and settle: what a charge set aside and gave back.
    """

    number: int
    moment: WallTime
    kind: str
    amount_fen: int
    balance_fen: int  # after it
    session_id: str | None  # the charge it belongs to


class StatementPage(msgspec.Struct, frozen=True):
    """As `ChargesPage`."""

    lines: list[WalletLine]
    older: int | None


class WaitingView(msgspec.Struct, frozen=True):
    """A resident's own entry in the line of those who wait for power.

    `place` 1 is the next, None once it came to nothing; `outcome` then says why: a code of `model.REFUSALS`, or
    "expired" after half an hour without power.
    """

    outlet: int
    code: str
    choice: ChoiceKind
    choice_amount: int
    place: int | None
    outcome: str | None


class CabinetView(msgspec.Struct, frozen=True):
    """The cabinet as a whole. `fault` has opened every outlet; `waiting` is the length of the line for power."""

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
    service_fen: int  # everything that is not electricity
    feed_mw: int | None


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One settled session in the usage log. `record_hash` = SHA-256 of its canonical JSON, `previous_hash` included."""

    number: int  # gapless from 1
    order_number: str
    session_id: str
    site_id: str
    outlet: int
    card: str = ""  # masked: last four characters; empty once the resident is erased. Not part of what is hashed
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
    holder: str = ""  # the resident, by a random word that means nothing without the resident's own row


class UsageFilter(msgspec.Struct, frozen=True):
    """Which records of the usage log: numbered above `after`, ended in [from, to), of one outlet, of one holder."""

    after: int = 0
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    outlet: int | None = None
    holder: str | None = None


class Closing(msgspec.Struct, frozen=True):
    """What the usage log came to, from record `first_number` to `last_number`, which has `last_hash`, and sums."""

    number: int  # of the closing, gapless from 1
    site_id: str
    month: str  # such as 2026-11: the one that is over
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
    """The last record of a day, by number: kept elsewhere it shows whether that record, or one before it, changed."""

    day: str  # of the site, such as 2026-11-30
    site_id: str
    number: int
    record_hash: str


class ResidentPort(Protocol):
    """Everything raises `Refused` with a code of `model.REFUSALS` where it cannot be done, and then nothing is done."""

    def outlet(self, code: str) -> OutletView: ...
    def price(self, code: str, group: str, power_w: int | None = None) -> PriceView:
        """What a charge costs that begins now at that outlet, for a resident of that group ("" where not known).

        The example is for a charger of `power_w`, where that is known. Refuses unknown_code.
        """

    async def sign_in(self, card: str, pin: str, address: str) -> str:
        """A session token for the cookie; refuses wrong_card_or_pin (the same for both), locked_out(retry_after_s)."""

    async def sign_in_guest(self, code: str, address: str) -> str:
        """As `sign_in`, with a code that is good once; refuses wrong_code, locked_out(retry_after_s)."""

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        """`everywhere`: on every phone of the same resident."""

    async def resident(self, token: str) -> ResidentView:
        """Refuses signed_out."""

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        """The same `request_key` again gives the same session and starts nothing."""

    async def wait(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        """Get in line for power at this outlet: started in turn. No money is held until then. Idempotent.

        Refuses as `start` does, but for want of power; reserved where another resident waits for this outlet.
        """

    async def leave(self, resident_id: int) -> None:
        """Out of the line. Idempotent."""

    def waiting(self, resident_id: int) -> WaitingView | None: ...
    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        """Returns when the outlet is open and the session settled, or as it stands after 3 s. Idempotent."""

    async def session(self, resident_id: int, session_id: str) -> SessionView: ...
    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        """Newest first."""

    async def charges(self, resident_id: int, before: int | None, limit: int) -> ChargesPage: ...
    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage: ...
    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]: ...
    def changes(self, outlet: int) -> AsyncIterator[None]:
        """Yields at once, then whenever something a viewer of this outlet sees may have changed; at most 2 a second."""


class AttackView(msgspec.Struct, frozen=True):
    """Somebody guesses at PINs or passwords: `locks` within the last while, the last one's by `address`."""

    locks: int
    address: str


class PropertyPort(Protocol):
    @property
    def office(self) -> "OfficePort":
        """Everything that needs a role."""

    async def sign_in_staff(self, name: str, password: str, address: str) -> "str | SecondStep":
        """A token, or what to hand to `sign_in_staff_code`. Refuses wrong_card_or_pin, locked_out, storage_full."""

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        """Refuses expired, wrong_second_factor, locked_out, storage_full."""

    async def sign_out_staff(self, token: str, everywhere: bool = False) -> None: ...
    async def token_allows(self, bearer: str, scope: str) -> None:
        """Refuses wrong_token, and scope_missing to a valid token that may do other things only."""

    def outlets(self) -> list[OutletView]: ...
    async def today(self) -> DayFigures: ...
    async def todays_sessions(self) -> list[SessionView]: ...
    def attack(self) -> AttackView | None:
        """None: no card, login or address was locked out lately."""

    def tariff_mistakes(self) -> list[str]:
        """Of tariff files that are not used because of them, a line a mistake."""

    async def usage(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        """Records that `wanted` describes, in order of their numbers; at most 1000 whatever the limit."""

    async def usage_closings(self) -> list[Signed]:
        """Every month's, the oldest first."""

    async def usage_heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        """Of every day with a charge that ended in [from, to), the oldest first."""

    async def usage_key(self) -> str:
        """The public key that closings are signed with, base64."""

    def cabinet(self) -> CabinetView: ...
    def snapshot(self) -> Snapshot:
        """As the guard last published it; refuses guard_unreachable."""

    def guard_reachable(self) -> bool: ...
    def accepting(self) -> str | None:
        """None, or the code why no new sessions start: guard_unreachable, storage_full."""

    def cabinet_changes(self) -> AsyncIterator[None]:
        """As `ResidentPort.changes`, for the whole cabinet."""
