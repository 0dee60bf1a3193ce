"""Promises of the guard's socket: both clients against the real server, without a guard."""

import asyncio
import contextlib
import os
import select
import socket
import threading
from pathlib import Path

import msgspec
import pytest

from cabinet.clock import ManualClock
from cabinet.errors import LinkError, Refused
from cabinet.link import protocol
from cabinet.link.accounts import USERS, Accounts
from cabinet.link.client import BlockingGuard, GuardLink
from cabinet.link.protocol import (
    MAX_CYCLES,
    MAX_SIREN_S,
    MAX_TRIAL_S,
    AskBus,
    BusView,
    ChipView,
    ClearLatch,
    CycleRelay,
    Done,
    Energise,
    Open,
    Recent,
    Refusal,
    ReplaceRelay,
    Role,
    ScanView,
    SegmentView,
    SetContactorLockout,
    SetGains,
    SoundSiren,
    StartSelfTest,
    StartTestCharge,
    TakeOutOfService,
    TestAlertLine,
    TestResidual,
    Welcome,
)
from cabinet.link.server import HELLO_NS, MAX_OF_ROLE, MAX_SILENT, RECENT_EVENTS, EventLog, LinkServer
from cabinet.maintenance import Gains, MaintenanceState
from cabinet.model import (
    ABSENT,
    ChargeLimits,
    EndReason,
    Event,
    EventKind,
    Fault,
    GuardHealth,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
    Snapshot,
)
from cabinet.system.socket_peer import peer_uid

ROOT = Path(__file__).parents[3]
WITHIN_S = 30  # only keeps a broken build from hanging

HEALTH = GuardHealth(True, 1, 0, 0, 2000, 0, 0)
SNAPSHOT = Snapshot("run1", "epoch1", 5, [], True, ABSENT, ABSENT, ABSENT, 0, 0, HEALTH, 7_000_000)

CHIP = ChipView("ADE7953", 0x38, 0x70, 2, {"VRMS": 4_000_000, "AWATT": -12})
BUS = BusView(
    5, [SegmentView("segment 0x70/2", 0x70, 2, True, {"EREMOTEIO": 2}, "", 0, [CHIP], {"A": 5})], [], [], 2, ScanView()
)


class ServedGuard:
    """The server in a thread of its own, answering like a guard whose outlet 9 is busy."""

    def __init__(self, folder: Path, accounts: Accounts | None = None) -> None:
        self.path = folder / "guard.sock"
        self.events = EventLog("run1")
        self.handled: list[object] = []
        self.clock = ManualClock()
        self.accounts = accounts or Accounts.of_this_machine()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.server = LinkServer(
            self.path,
            Welcome(protocol.VERSION, "run1", "epoch1", [1]),
            self.events,
            self._handle,
            lambda: SNAPSHOT,
            self._bus,
            self.clock,
            accounts=self.accounts,
        )
        self.scans = 0
        self._thread.start()

    def _bus(self, scan: bool) -> BusView:
        self.scans += scan
        return BUS

    def _handle(self, command):
        self.handled.append(command)
        if command.outlet == 9:
            return Refusal(command.id, "outlet_busy", {"outlet": 9})
        return Done(command.id)

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select(self.server.descriptors, [], [], 0.01)
            self.server.serve(ready)
            self.server.push_events()
            self.server.publish(SNAPSHOT)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.server.close()


@pytest.fixture
def guard(tmp_path):
    served = ServedGuard(tmp_path)
    yield served
    served.close()


def event(kind=EventKind.CLOSED) -> Event:
    return Event("", 0, 1, kind, outlet=1)


def test_console_sees_the_cabinet_and_its_commands_are_done(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.snapshot() == SNAPSHOT
        link.request(lambda n: ClearLatch(n, 1, "staff"))
    assert guard.handled == [ClearLatch(2, 1, "staff")]


def test_console_sees_the_bus_and_may_have_it_searched(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.bus() == BUS
        assert guard.scans == 0
        assert link.bus(scan=True) == BUS
        assert guard.scans == 1


def test_console_sees_recent_events_also_those_acknowledged(guard):
    numbered = [guard.events.add(event(EventKind.CLOSED)) for _ in range(3)]
    guard.events.acknowledge("run1", 2)
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.recent() == Recent(guard.clock.monotonic_ns(), numbered)


@pytest.mark.parametrize("role", [Role.SERVICE, Role.VIEWER])
def test_only_the_console_looks_at_bus_and_recent_events(guard, role):
    with BlockingGuard(guard.path, role) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: AskBus(n, scan=True))
    assert guard.scans == 0


def test_recent_events_of_the_longest_words_fit_a_frame():
    word = "w" * 64
    longest = Event(word, 2**63 - 1, 2**63 - 1, EventKind.LATCH_CLEARED, 40, word, Fault.SENSOR_DISAGREES, True,
                    EndReason.STOPPED_BY_OPERATOR, {f"{n}{'k' * 20}": 2**63 - 1 for n in range(6)},
                    MeterCount(2**53, 2**53, 2**53), MeterCount(2**53, 2**53, 2**53), word)  # fmt: skip
    assert len(protocol.encode(Recent(2**63 - 1, [longest] * RECENT_EVENTS))) <= protocol.MAX_FRAME


def test_refusal_reaches_the_caller_with_its_code_and_numbers(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link, pytest.raises(Refused) as refused:
        link.request(lambda n: Open(n, 9, EndReason.STOPPED_BY_STAFF))
    assert (refused.value.code, refused.value.params) == ("outlet_busy", {"outlet": 9})


@pytest.mark.parametrize("role", [Role.CONSOLE, Role.VIEWER])
def test_only_the_service_may_energise(guard, role):
    with BlockingGuard(guard.path, role) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: Energise(n, 1, "s1", ChargeLimits()))
    assert guard.handled == []


def test_service_may_not_clear_a_latch(guard):
    with BlockingGuard(guard.path, Role.SERVICE) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: ClearLatch(n, 1, "service"))


def test_no_guard_is_a_link_error_that_says_where(tmp_path):
    with pytest.raises(LinkError, match="no guard answers"):
        BlockingGuard(tmp_path / "guard.sock", Role.CONSOLE)


def packed(message: object) -> bytes:
    return msgspec.msgpack.encode(message)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\xff" * 100, id="noise"),
        pytest.param(packed({"type": "ask"}), id="a field is missing"),
        pytest.param(packed({"type": "open_sesame", "id": 1}), id="a command there is not"),
        pytest.param(packed(ClearLatch(1, 1, "staff")).replace(b"staff", b"st\xffff"), id="text that is not UTF-8"),
        pytest.param(b"\x91" * 3000, id="lists without end"),
        pytest.param(packed(ClearLatch(1, 1, "x" * 65)), id="a name too long to show"),
        pytest.param(packed(ClearLatch(1, 1, "x" * 100_000)), id="a frame too long for any command"),
        pytest.param(packed(Energise(1, 1, "s", ChargeLimits(charging_s=-1))), id="a limit below nothing"),
        pytest.param(packed(Energise(1, 1, "s", ChargeLimits(), used_energy_mwh=-5)), id="energy below nothing"),
        pytest.param(packed(ClearLatch(2**64 - 1, 1, "x"))[:-1], id="half a message"),
    ],
)
def test_frame_that_is_no_message_costs_its_sender_the_connection_and_nobody_else(guard, frame):
    with BlockingGuard(guard.path, Role.SERVICE) as good, BlockingGuard(guard.path, Role.SERVICE) as bad:
        bad._socket.send(frame)
        with pytest.raises(LinkError):
            bad.snapshot()
        assert good.snapshot() == SNAPSHOT
    assert guard.handled == []


@pytest.mark.parametrize("frame", [b"\xff" * 9, b"\x91" * 3000, packed(Done(1)).replace(b"done", b"d\xffne")])
def test_frame_that_is_no_message_is_a_link_error_for_a_client_too(frame):
    with pytest.raises(LinkError):
        protocol.decode_from_guard(frame)


def test_largest_cabinet_with_the_longest_words_fits_a_frame():
    word, many = "字" * 64, 2**53
    reading = Reading(None, many, Quality.FAULT, "no answer")
    count = MeterCount(many, many, many)
    why = {"voltage_age_ms": many, "current_age_ms": many, "power_age_ms": many}
    state = OutletState(
        63, True, Phase.WAITING_FOR_LOAD, word, reading, reading, reading, reading, reading,
        count, count, Fault.SENSOR_LOST, True, why, "voltage_out_of_band",
    )  # fmt: skip
    snapshot = msgspec.structs.replace(SNAPSHOT, outlets=[state] * 40)
    assert len(protocol.encode(snapshot)) < protocol.MAX_FRAME / 2


def test_clients_that_talk_without_end_or_say_nothing_do_not_keep_another_out(guard):
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(MAX_SILENT)]
    for sock in silent:
        sock.connect(str(guard.path))
    with BlockingGuard(guard.path, Role.VIEWER) as talking:
        stop = threading.Event()
        talker = threading.Thread(target=talk_until, args=(talking, stop), daemon=True)
        talker.start()
        guard.clock.advance_ns(HELLO_NS + 1)
        assert [sock.recv(1) for sock in silent] == [b""] * len(silent), "dropped, as they did not say who they are"
        with BlockingGuard(guard.path, Role.CONSOLE) as late:
            assert late.snapshot() == SNAPSHOT
        stop.set()
        talker.join()
    for sock in silent:
        sock.close()


# --- who may be what -------------------------------------------------------------------------------------------------

ME, OTHER = os.geteuid(), 4242  # a user that runs nothing here


@pytest.fixture
def as_user(tmp_path, monkeypatch):
    """A guard that runs as another user than this test, which has the roles given."""
    served: list[ServedGuard] = []

    def serve(*roles: Role) -> ServedGuard:
        accounts = Accounts(OTHER, {})
        monkeypatch.setattr(accounts, "roles", lambda uid: frozenset(roles) if uid == ME else frozenset())
        served.append(ServedGuard(tmp_path, accounts))
        return served[-1]

    yield serve
    for each in served:
        each.close()


@pytest.mark.parametrize("claimed", list(Role))
@pytest.mark.parametrize("own", [Role.SERVICE, Role.CONSOLE, Role.VIEWER])
def test_the_user_decides_about_the_role_and_not_what_a_client_claims(as_user, caplog, own, claimed):
    guard = as_user(own, Role.VIEWER)
    if claimed in (own, Role.VIEWER):
        with BlockingGuard(guard.path, claimed) as link:
            assert link.snapshot() == SNAPSHOT
    else:
        with pytest.raises(LinkError, match=rf"does not take user {ME} as {claimed.value}"):
            BlockingGuard(guard.path, claimed)
        guard.close()  # it has said why when this returns
        assert f"dropped a client of user {ME}: it may not be {claimed.value} here" in caplog.text
    assert guard.handled == []


def test_service_that_the_guard_does_not_take_is_told_so(as_user, caplog):
    guard = as_user(Role.VIEWER)

    async def on_event(_: Event) -> None: ...

    async def tried() -> None:
        link = GuardLink(guard.path, Role.SERVICE, lambda _: None, on_event, lambda _: None)
        running = asyncio.create_task(link.run())
        while "does not take" not in caplog.text:
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(asyncio.wait_for(tried(), WITHIN_S))


def test_roles_of_the_users_of_a_cabinet():
    """Root and the guard's own user may be anything; each process what it is; others look."""
    cabinet = Accounts(990, {991: Role.SERVICE, 992: Role.CONSOLE})
    assert cabinet.roles(0) == cabinet.roles(990) == frozenset(Role)
    assert cabinet.roles(991) == {Role.SERVICE, Role.VIEWER}
    assert cabinet.roles(992) == {Role.CONSOLE, Role.VIEWER}
    assert cabinet.roles(993) == {Role.VIEWER}


def test_users_of_the_roles_are_those_the_package_makes_and_the_units_run_as():
    made = (ROOT / "systemd/cabinet.sysusers").read_text()
    for role, name in USERS.items():
        assert f"u {name} " in made
        assert f"User={name}\n" in (ROOT / f"systemd/cabinet-{role.value}.service").read_text()


def test_user_at_the_other_end_is_told_by_the_kernel():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert peer_uid(ours) == ME


def connected(path: Path, count: int) -> list[socket.socket]:
    made = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
    for sock in made:
        sock.settimeout(WITHIN_S)
        sock.connect(str(path))
    return made


def test_viewers_without_number_leave_places_for_service_and_console(guard):
    with contextlib.ExitStack() as flood:
        for _ in range(MAX_OF_ROLE[Role.VIEWER]):
            flood.enter_context(BlockingGuard(guard.path, Role.VIEWER))
        for _ in range(3):
            with pytest.raises(LinkError):
                BlockingGuard(guard.path, Role.VIEWER)
        with BlockingGuard(guard.path, Role.CONSOLE) as console, BlockingGuard(guard.path, Role.SERVICE):
            assert console.snapshot() == SNAPSHOT


def test_silent_connections_without_number_keep_no_console_out(guard):
    with contextlib.ExitStack() as flood:
        for _ in range(3):
            for sock in connected(guard.path, 2 * MAX_SILENT):
                flood.callback(sock.close)
            with BlockingGuard(guard.path, Role.CONSOLE) as console:
                assert console.snapshot() == SNAPSHOT
        assert len(guard.server.descriptors) <= 2 + MAX_SILENT


def test_one_users_connections_take_no_places_of_another(as_user):
    """Whatever it calls itself: a service that was taken over is still the service's user."""
    guard = as_user(Role.SERVICE, Role.VIEWER)
    with contextlib.ExitStack() as flood:
        links = [flood.enter_context(BlockingGuard(guard.path, Role.VIEWER)) for _ in range(MAX_OF_ROLE[Role.SERVICE])]
        with pytest.raises(LinkError):
            BlockingGuard(guard.path, Role.VIEWER)
        guard.accounts.roles = lambda uid: frozenset({Role.CONSOLE, Role.VIEWER})  # the next to come is another user
        for _ in range(2):
            flood.enter_context(BlockingGuard(guard.path, Role.CONSOLE))
        assert [link.snapshot() for link in links] == [SNAPSHOT] * len(links)


def test_client_that_is_dropped_again_and_again_is_a_line_in_the_log_a_second(as_user, caplog):
    guard = as_user(Role.VIEWER)
    for _ in range(5):
        with pytest.raises(LinkError):
            BlockingGuard(guard.path, Role.CONSOLE)
    guard.close()
    assert caplog.text.count("dropped a client") == 1


def talk_until(link: BlockingGuard, stop: threading.Event) -> None:
    while not stop.is_set():
        link.snapshot()


async def collect(guard: ServedGuard, enough: int, acknowledge: bool) -> list[int]:
    """Sequence numbers a service is handed until there are `enough`."""
    seen: list[int] = []
    done = asyncio.Event()

    async def on_event(got: Event) -> None:
        seen.append(got.seq)
        if acknowledge:
            link.acknowledge(got.guard_run, got.seq)
        if len(seen) == enough:
            done.set()

    link = GuardLink(guard.path, Role.SERVICE, lambda _: None, on_event, lambda _: None)
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(5):
        await done.wait()
        while acknowledge and guard.events.kept:
            await asyncio.sleep(0)
    running.cancel()
    return seen


def test_events_are_kept_until_acknowledged_and_then_forgotten(guard):
    for _ in range(100):
        guard.events.add(event())
    assert asyncio.run(collect(guard, 100, acknowledge=False)) == list(range(1, 101))
    assert asyncio.run(collect(guard, 100, acknowledge=True)) == list(range(1, 101))
    assert not guard.events.kept


def test_acknowledgement_of_another_guards_run_forgets_nothing():
    events = EventLog("run2")
    events.add(event())
    events.acknowledge("run1", 1)
    assert [kept.seq for kept in events.kept] == [1]


def test_service_waits_for_a_guard_that_comes_later_and_learns_when_it_goes(tmp_path):
    async def scenario() -> list[object]:
        told: list[object] = []
        changed = asyncio.Event()

        def on_link(up: bool) -> None:
            told.append(up)
            changed.set()

        async def on_event(_: Event) -> None:
            told.append("event")

        link = GuardLink(tmp_path / "guard.sock", Role.SERVICE, lambda _: None, on_event, on_link)
        running = asyncio.create_task(link.run())
        with pytest.raises(Refused, match="guard_unreachable"):
            await link.request(lambda n: Open(n, 1, EndReason.FULL))
        served = ServedGuard(tmp_path)
        async with asyncio.timeout(5):
            await changed.wait()
            await link.request(lambda n: Open(n, 1, EndReason.FULL))
            with pytest.raises(Refused, match="outlet_busy"):
                await link.request(lambda n: Open(n, 9, EndReason.FULL))
            changed.clear()
            served.close()
            await changed.wait()
        running.cancel()
        return told

    assert asyncio.run(scenario()) == [True, False]


def test_event_whose_handling_failed_is_handed_over_again(guard):
    guard.events.add(event())
    tries: list[int] = []

    async def scenario() -> None:
        done = asyncio.Event()

        async def on_event(got: Event) -> None:
            tries.append(got.seq)
            if len(tries) == 1:
                raise LinkError("the disk was full")
            done.set()

        link = GuardLink(guard.path, Role.SERVICE, lambda _: None, on_event, lambda _: None)
        running = asyncio.create_task(link.run())
        async with asyncio.timeout(5):
            await done.wait()
        running.cancel()

    asyncio.run(scenario())
    assert tries == [1, 1]


STAFF = [
    StartTestCharge(1, 3, 60, "console:tech"),
    TakeOutOfService(1, 3, "插座松动", "console:tech", forced=True),
    SetContactorLockout(1, True, "console:tech"),
    ReplaceRelay(1, 3, "console:tech"),
    SetGains(1, 3, Gains(1_010_000, 990_000), "console:tech"),
    StartSelfTest(1, 0, "console:tech"),
    CycleRelay(1, 3, 5, "console:tech"),
    TestAlertLine(1, 3, "console:tech"),
    TestResidual(1, "console:tech"),
    SoundSiren(1, 2, "console:tech"),
]


def test_every_staff_command_is_among_those_sent():
    assert {type(command) for command in STAFF} == set(protocol.STAFF_COMMANDS)


@pytest.mark.parametrize("command", STAFF, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("role", [Role.SERVICE, Role.VIEWER])
def test_what_staff_ask_comes_from_the_console_only(guard, role, command):
    assert protocol.decode_from_client(protocol.encode(command)) == command
    with BlockingGuard(guard.path, role) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: msgspec.structs.replace(command, id=n))
    assert guard.handled == []


@pytest.mark.parametrize(
    "command",
    [
        StartTestCharge(1, 3, MAX_TRIAL_S + 1, "x"),
        StartTestCharge(1, 3, 0, "x"),
        CycleRelay(1, 3, MAX_CYCLES + 1, "x"),
        SoundSiren(1, MAX_SIREN_S + 1, "x"),
        TakeOutOfService(1, 3, "x" * 81, "x"),
        TakeOutOfService(1, 3, "x", "x" * 65),
    ],
)
def test_staff_command_beyond_its_bounds_is_no_message(command):
    with pytest.raises(LinkError):
        protocol.decode_from_client(protocol.encode(command))


def test_upkeep_is_told_to_the_console(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.maintenance_state() == MaintenanceState(0, [], 0)
