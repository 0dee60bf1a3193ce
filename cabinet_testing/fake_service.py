"""Service with values set by hand, for tests of the pages."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.model import (
    ABSENT,
    CostLine,
    EndReason,
    Fault,
    GuardHealth,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
    Snapshot,
)
from cabinet.records import (
    Actor,
    CurvePoint,
    LoadSample,
    Role,
    SignedClosing,
    StaffView,
    UsageFilter,
    UsageHead,
    UsageRecord,
)
from cabinet.service.ports import (
    SCOPES,
    AttackView,
    BandPrice,
    CabinetView,
    ChargesPage,
    DayFigures,
    OutletView,
    PeriodPrice,
    PlaceView,
    PriceView,
    ResidentView,
    SessionView,
    StartChoice,
    StatementPage,
    WaitingView,
    WalletLine,
)
from cabinet.service.property_views import Comparison, LoadView, UsageSums

STARTED = WallTime(1_795_500_000_000, True)  # 24 November 2026, 14:00 in Shanghai
HOUR_MS = 3_600_000
PLACE = ("示范小区充电柜", "Demo Compound Charging Cabinet", "000-0000-0000", 100, 120)  # as in the example of the demo

PRICE = PriceView(
    version="test-1",
    start_fee_fen=0,
    priced_kwh=1,
    service_fen=30,
    free_minutes=0,
    minimum_fen=0,
    cap_fen=500,
    bands=[BandPrice(0, 200, 20), BandPrice(200, None, 35)],
    periods=[PeriodPrice("00:00", "08:00", 40), PeriodPrice("08:00", "24:00", 55)],
    example_minutes=120,
    example_power_w=150,
    example_fen=65,
)

LINES = [
    CostLine("time", 4980, "s", 20, 27, "0-200"),
    CostLine("electricity", 207_500, "mWh", 55, 11, "08:00-24:00"),
    CostLine("service", 207_500, "mWh", 30, 6),
]


def outlet(number: int, code: str, **changes: Any) -> OutletView:
    """A free outlet, but for `changes`."""
    free = OutletView(number, code, "free", None, None, None, 0, 24_000, 352_900)
    return msgspec.structs.replace(free, **changes)


def session(session_id: str, **changes: Any) -> SessionView:
    """A charge that runs on outlet 3, but for `changes`."""
    running = SessionView(
        session_id=session_id,
        order_number=f"DEMO-1-20261124-{session_id}",
        outlet=3,
        code="C5T4",
        state="charging",
        choice="full",
        choice_amount=0,
        started=STARTED,
        ended=None,
        powered_s=4990,
        charging_s=4980,
        energy_mwh=207_500,
        power_mw=152_400,
        lines=LINES,
        cost_fen=44,
        held_fen=500,
        refund_fen=None,
        tariff_version="test-1",
        end_reason=None,
        fault=None,
        wait_left_s=None,
        usage_number=None,
    )
    return msgspec.structs.replace(running, **changes)


def settled(session_id: str, reason: EndReason = EndReason.FULL, **changes: Any) -> SessionView:
    """The same, over and paid."""
    values: dict[str, Any] = {
        "state": "settled",
        "ended": WallTime(STARTED.unix_ms + 4_990_000, True),
        "power_mw": None,
        "refund_fen": 456,
        "end_reason": reason,
        "usage_number": 17,
    }
    return session(session_id, **(values | changes))


def waiting(at: OutletView, place: int | None, outcome: str | None = None) -> WaitingView:
    """Return an entry of the power queue for outlet `at`."""
    return WaitingView(at.number, at.code, "full", 0, place, outcome)


def usage_record(number: int, **changes: Any) -> UsageRecord:
    """Record `number` of the log."""
    record = UsageRecord(
        number=number,
        order_number=f"DEMO-1-20261124-{number:04d}",
        session_id=f"s{number}",
        site_id="DEMO-1",
        outlet=3,
        card="1001",
        started=STARTED,
        ended=WallTime(STARTED.unix_ms + HOUR_MS, True),
        powered_s=3600,
        charging_s=3555,
        energy_mwh=352_900,
        peak_power_mw=181_600,
        mean_power_mw=150_000,
        lines=LINES,
        electricity_fen=11,
        service_fen=33,
        total_fen=44,
        held_fen=500,
        refund_fen=456,
        end_reason=EndReason.FULL,
        fault=None,
        tariff_version="test-1",
        previous_hash="0" * 64,
        record_hash=f"{number:064x}",
    )
    return msgspec.structs.replace(record, **changes)


class FakePropertyFunctions:
    """The part of the property port that the overview needs; the other pages are tested on a real service."""

    def __init__(self, service: "FakeService") -> None:
        self._service = service
        self.staff = self.figures = self
        self.log = self.tariffs = service

    def wall(self) -> WallTime:
        return STARTED

    async def today(self) -> DayFigures:
        return DayFigures(sessions=12, energy_mwh=4_352_900, electricity_fen=239, service_fen=391, feed_mw=1_250_000)

    async def comparison(self) -> Comparison:
        today, before = UsageSums(12, 40_000, 4_352_900, 239, 391), UsageSums(10, 36_000, 4_000_000, 220, 380)
        return Comparison(today, before, datetime.date(2026, 11, 24), datetime.date(2026, 11, 17), STARTED)

    async def load(self, day: datetime.date) -> LoadView:
        midnight_s = 1_795_449_600
        samples = [LoadSample(midnight_s + number * 300, 800_000, 950_000, 7_000_000) for number in range(9)]
        return LoadView(300, midnight_s, midnight_s + 86_400, samples, 7_000_000)

    async def actor(self, token: str, address: str, active: bool = True) -> Actor:
        name = await self._service.staff_name(token, active)
        return Actor(StaffView(1, name, self._service.role), address)


class FakeService:
    """All ports. `refusals` maps a method's name to its refusal; `calls` holds the requested actions."""

    def __init__(self) -> None:
        self.charges = self.overview = self.accounts = self.queue = self
        self.property_: Any = FakePropertyFunctions(self)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything that a test did."""
        self.outlet_views = {
            1: outlet(1, "A7K2"),
            2: outlet(2, "B3M9", condition="in_use", refusal="outlet_busy", session_id="other", power_mw=98_000),
            3: outlet(3, "C5T4"),
            4: outlet(
                4, "D8R6", condition="needs_service", refusal="fault_latched", fault=Fault.SHORT_CIRCUIT, power_mw=None
            ),
            5: outlet(
                5, "E2W7", condition="unreachable", refusal="guard_unreachable", power_mw=None, temperature_mc=None
            ),
            6: outlet(6, "F9H3", refusal="feed_full"),
        }
        self.price_view = PRICE
        self.moves = [
            WalletLine(9, STARTED, "settle", 456, 2350, "old1"),
            WalletLine(8, STARTED, "hold", -500, 1894, "old1"),
            WalletLine(2, STARTED, "top_up", 2394, 2394, None),
        ]
        self.guest_codes = {"4821730915": "resident-2"}
        self.pins = {"1001": "2468", "1002": "1357"}
        self.residents = {1: ResidentView(1, "1001", 2350, 0), 2: ResidentView(2, "1002", 900, 0)}
        self.passwords = {"manager": "office-password"}
        self.tokens = {"resident-1": 1, "resident-2": 2}
        self.staff_tokens = {"staff-1": "manager"}
        self.role: Role = "operator"
        self.staff_active = True
        self.bearers = {"api-token": set(SCOPES)} | {f"{scope}-token": {scope} for scope in SCOPES}
        self.session_views: dict[str, tuple[int, SessionView]] = {}
        self.points = [CurvePoint(second, 150 + second % 7) for second in range(0, 4980, 60)]
        self.usage_records: list[UsageRecord] = []
        self.wrong_tariffs: list[str] = []
        self.attack_view: AttackView | None = None
        self.problems: list[str] = []
        self.signed_closings: list[SignedClosing] = []
        self.day_heads: list[UsageHead] = []
        self.wanted = UsageFilter()
        self.guard_answers = True
        self.whole = CabinetView(None, False, False, 1_250_000, 7_000_000, 0)
        self.entries: dict[int, WaitingView] = {}
        self.hindrance: str | None = None
        self.refusals: dict[str, Refused] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.started_by_key: dict[str, str] = {}
        self.changed = asyncio.Event()

    def frame(self) -> PlaceView:
        return PlaceView(*PLACE, self.cabinet(), self.guard_reachable())

    async def place(self, of: OutletView | SessionView) -> PlaceView:
        return self.frame()

    async def outlet(self, code: str) -> OutletView:
        return self.outlet_of(code)

    def outlet_of(self, code: str) -> OutletView:
        for view in self.outlet_views.values():
            if view.code == code:
                return view
        raise Refused("unknown_code")

    async def price(self, code: str, group: str, power_w: int | None = None) -> PriceView:
        if power_w is None:
            return self.price_view
        return msgspec.structs.replace(self.price_view, example_power_w=power_w, example_fen=power_w // 2)

    async def sign_in(self, card: str, pin: str, address: str, at: str = "") -> str:
        self._refuse("sign_in")
        if self.pins.get(card) != pin:
            raise Refused("wrong_card_or_pin")
        self.calls.append(("sign_in", card, address))
        return f"resident-{list(self.pins).index(card) + 1}"

    async def sign_in_guest(self, code: str, address: str) -> str:
        self._refuse("sign_in_guest")
        if code not in self.guest_codes:
            raise Refused("wrong_code")
        self.calls.append(("sign_in_guest", code, address))
        return self.guest_codes.pop(code)

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        self.calls.append(("sign_out", token, everywhere))
        self.tokens.pop(token, None)

    async def resident(self, token: str, at: str = "") -> ResidentView:
        if token not in self.tokens:
            raise Refused("signed_out")
        return self.residents[self.tokens[token]]

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        self._refuse("start")
        view = self.outlet_of(code)
        if request_key in self.started_by_key:
            return self.session_views[self.started_by_key[request_key]][1]
        session_id = f"new{len(self.started_by_key) + 1}"
        self.started_by_key[request_key] = session_id
        self.calls.append(("start", resident_id, code, choice))
        begun = session(session_id, outlet=view.number, code=code, state="waiting_for_load", wait_left_s=120, lines=[])
        self.session_views[session_id] = (resident_id, begun)
        return begun

    async def join(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        self._refuse("join")
        self.calls.append(("join", resident_id, code, choice))
        self.entries[resident_id] = waiting(self.outlet_of(code), len(self.entries) + 1)
        return self.entries[resident_id]

    async def leave(self, resident_id: int) -> None:
        self.calls.append(("leave", resident_id))
        self.entries.pop(resident_id, None)

    async def view(self, resident_id: int) -> WaitingView | None:
        return self.entries.get(resident_id)

    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        self._refuse("stop")
        await self.session(resident_id, session_id)
        self.calls.append(("stop", resident_id, session_id))
        self.session_views[session_id] = (resident_id, settled(session_id, EndReason.STOPPED_BY_RESIDENT))
        return self.session_views[session_id][1]

    async def session(self, resident_id: int, session_id: str) -> SessionView:
        self._refuse("session")
        if session_id not in self.session_views:
            raise Refused("unknown_session")
        owner, view = self.session_views[session_id]
        if owner != resident_id:
            raise Refused("not_yours")
        return view

    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        return [view for owner, view in reversed(self.session_views.values()) if owner == resident_id][:limit]

    async def history(self, resident_id: int, before: int | None, limit: int) -> ChargesPage:
        """Return the charges, numbered by their order from 1."""
        mine = [
            (number, view)
            for number, (owner, view) in enumerate(self.session_views.values(), 1)
            if owner == resident_id and (before is None or number < before)
        ][::-1]
        older = mine[limit - 1][0] if len(mine) > limit else None
        return ChargesPage([view for _, view in mine[:limit]], older)

    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage:
        lines = [line for line in self.moves if before is None or line.number < before]
        return StatementPage(lines[:limit], lines[limit - 1].number if len(lines) > limit else None)

    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]:
        await self.session(resident_id, session_id)
        return self.points

    async def changes(self, of: OutletView | SessionView) -> AsyncIterator[None]:
        async for _ in self.cabinet_changes():
            yield None

    async def cabinet_changes(self) -> AsyncIterator[None]:
        while True:
            self.changed.clear()
            yield None
            await self.changed.wait()

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        raise Refused("expired")  # no login here has a second factor

    async def sign_in_staff(self, name: str, password: str, address: str, at: str = "") -> str:
        self._refuse("sign_in_staff")
        if self.passwords.get(name) != password:
            raise Refused("wrong_card_or_pin")
        return "staff-1"

    async def staff_name(self, token: str, active: bool = True) -> str:
        self.staff_active = active
        if token not in self.staff_tokens:
            raise Refused("signed_out")
        return self.staff_tokens[token]

    async def check_scope(self, bearer: str, scope: str) -> None:
        if bearer not in self.bearers:
            raise Refused("wrong_token")
        if scope not in self.bearers[bearer]:
            raise Refused("scope_missing")

    async def outlets(self) -> list[OutletView]:
        return list(self.outlet_views.values())

    async def todays_sessions(self) -> list[SessionView]:
        return [view for _, view in self.session_views.values()]

    async def records(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        self.wanted = wanted
        return [record for record in self.usage_records if record.number > wanted.after][:limit]

    async def closings(self) -> list[SignedClosing]:
        return self.signed_closings

    async def heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        self.wanted = UsageFilter(0, from_unix_ms, to_unix_ms)
        return self.day_heads

    async def public_key(self) -> str:
        return "key"

    def guard_reachable(self) -> bool:
        return self.guard_answers

    def snapshot(self) -> Snapshot:
        self._refuse("snapshot")
        power = Reading(152_000, 5_000_000, Quality.OK)
        state = OutletState(
            outlet=3, closed=True, phase=Phase.CHARGING, session_id="s1", peak_ma=ABSENT, current_ma=ABSENT,
            voltage_mv=ABSENT, power_mw=power, temperature_mc=Reading(None, 0, Quality.FAULT, "no answer"),
            count=MeterCount(), charge_count=MeterCount(7, 8, 9), fault=None, latched=False, why={"peak_ma": 1},
            refusal="outlet_busy",
        )  # fmt: skip
        return Snapshot(
            guard_run="run", epoch="epoch", at_ns=6_000_000, outlets=[state], contactor_closed=True, mains_mv=ABSENT,
            frequency_mhz=ABSENT, inside_mc=ABSENT, feed_mw=152_000, last_seq=4,
            health=GuardHealth(True, 1, 2, 3, 4, 5, 6), feed_limit_mw=7_000_000,
        )  # fmt: skip

    def cabinet(self) -> CabinetView:
        return self.whole

    def attack(self) -> AttackView | None:
        return self.attack_view

    def mistakes(self) -> list[str]:
        return self.wrong_tariffs

    def computer_problems(self) -> list[str]:
        return self.problems

    def accepting(self) -> str | None:
        return self.hindrance

    def _refuse(self, method: str) -> None:
        if method in self.refusals:
            raise self.refusals[method]
