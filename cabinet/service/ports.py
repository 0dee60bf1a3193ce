"""The service's interface to the web: views to show, charges and accounts. Neither side's internals are here.

`property_ports` adds the interface for the property. Views hold values, never sentences: the edge translates codes and
numbers into the reader's language. Money is in fen, energy in mWh, power in mW; times for people are `WallTime`.
"""

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec

from cabinet.clock import WallTime
from cabinet.model import CostLine, EndReason, Fault, Snapshot
from cabinet.records import CurvePoint

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
    phone: str = ""  # masked, of a resident who signs in by phone and has no card


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


class PlaceView(msgspec.Struct, frozen=True):
    """The cabinet that a page is about: names and phone for its frame, state for its notice, and two of its rules."""

    name: str
    name_en: str  # "" if there is none
    complaint_phone: str
    minimum_hold_fen: int  # a charge needs at least so much free money
    no_load_s: int  # a charge waits so long for its plug
    cabinet: CabinetView
    guard_reachable: bool
    has_queue: bool = True  # a charge for which there is no power now can wait


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


class AttackView(msgspec.Struct, frozen=True):
    """Suspected guessing of PINs or passwords: the number of recent `locks`, and the `address` of the last one."""

    locks: int
    address: str


class SecondStep(msgspec.Struct, frozen=True):
    """The answer if the password was right and a second factor is on: send `key` with the code within five minutes."""

    key: str


class QueuePort(Protocol):
    """The power queue."""

    async def join(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        """Join the queue for this outlet; the charge starts in turn. No money is held until then. Idempotent.

        Refuses as `ChargesPort.start` does, except for lack of power; refuses reserved if another resident waits for
        this outlet.
        """

    async def leave(self, resident_id: int) -> None:
        """Leave the queue. Idempotent."""

    async def view(self, resident_id: int) -> WaitingView | None:
        """Return the resident's own entry, if there is one."""


class ChargesPort(Protocol):
    """Outlets and charges of residents, at one cabinet or at all cabinets of a fleet.

    A method that cannot act raises `Refused` (code: `model.REFUSALS`) and changes nothing.
    """

    @property
    def queue(self) -> QueuePort: ...

    def frame(self) -> PlaceView:
        """Return the place of a page that is about no outlet in particular."""

    async def place(self, of: OutletView | SessionView) -> PlaceView:
        """Return the cabinet of this outlet or charge."""

    async def outlet(self, code: str) -> OutletView:
        """Return one outlet. Refuses unknown_code."""

    async def outlets(self) -> list[OutletView]:
        """Return the outlets that the front page lists."""

    async def price(self, code: str, group: str, power_w: int | None = None) -> PriceView | None:
        """Return the prices for a charge that begins now at this outlet, for a resident of `group` ("" if not known).

        The example is for a charger of `power_w`, if that is known. None if a fleet does not know the prices of the
        cabinet; then no charge can start there by phone. Refuses unknown_code.
        """

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        """Start a charge. If `request_key` repeats, return the same session and start nothing."""

    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        """Stop the charge; return when the outlet is open and the session settled, or after 3 s. Idempotent."""

    async def session(self, resident_id: int, session_id: str) -> SessionView: ...
    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        """Return the resident's sessions, newest first."""

    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]: ...
    async def history(self, resident_id: int, before: int | None, limit: int) -> ChargesPage:
        """Return the resident's charges numbered below `before`, newest first; at most 100."""

    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage: ...
    def changes(self, of: OutletView | SessionView) -> AsyncIterator[None]:
        """Yield at once, then whenever the view of this outlet or charge may have changed; at most twice a second."""


class OverviewPort(Protocol):
    """One cabinet as a whole, for its property, its programs and its front page."""

    async def outlets(self) -> list[OutletView]: ...
    def cabinet(self) -> CabinetView: ...
    def snapshot(self) -> Snapshot:
        """Return the guard's last published snapshot; refuses guard_unreachable."""

    def guard_reachable(self) -> bool: ...
    def accepting(self) -> str | None:
        """Return the code if no new sessions start (guard_unreachable, storage_full, storage_damaged), else None."""

    def computer_problems(self) -> list[str]:
        """Return the computer's problems that staff should know, as codes of the texts `computer.<code>.staff`."""

    async def todays_sessions(self) -> list[SessionView]:
        """Return the sessions of all residents that began today, newest first."""

    def cabinet_changes(self) -> AsyncIterator[None]:
        """Yield as `ChargesPort.changes`, for the whole cabinet."""


class ResidentAccountsPort(Protocol):
    """Sign-in of residents and guests. All sign-ins refuse locked_out(retry_after_s), storage_full.

    `at` is the code of the outlet that the person is at, "" if none is known: in a fleet, its company knows the person.
    """

    async def sign_in(self, card: str, pin: str, address: str, at: str = "") -> str:
        """Return a session token for the cookie.

        Refuses wrong_card_or_pin (one code for both), card_blocked (only if the PIN is right).
        """

    async def sign_in_guest(self, code: str, address: str) -> str:
        """Sign in with a code that is valid once; refuses wrong_code, card_blocked."""

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        """Sign out; with `everywhere`, in every browser of the same person."""

    async def resident(self, token: str, at: str = "") -> ResidentView:
        """Return the resident who is signed in with `token`. Refuses signed_out, also if unknown at `at`."""


class StaffAccountsPort(ResidentAccountsPort, Protocol):
    """Sign-in of residents and of the property's staff."""

    async def sign_in_staff(self, name: str, password: str, address: str, at: str = "") -> str | SecondStep:
        """Return a token, or the key for `sign_in_staff_code` if the login has a second factor.

        `at`: the name of the company, where there are several. Refuses wrong_card_or_pin.
        """

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        """Return a token for a phone code or a recovery code; the code is used up in the same transaction.

        Refuses expired, wrong_second_factor. A wrong code counts like a wrong password.
        """


class AccountsPort(StaffAccountsPort, Protocol):
    """Sign-in of residents, staff and programs."""

    async def check_scope(self, bearer: str, scope: str) -> None:
        """Check an API token. Refuses wrong_token; scope_missing if the token is valid but lacks the scope."""

    def attack(self) -> AttackView | None:
        """Return the suspected attack; None if no card, login or address was locked out recently."""
