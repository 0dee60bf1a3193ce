"""Promises of the guard's socket: both clients against the real server, without a guard."""

import asyncio
import socket
import threading

import msgspec
import pytest

from cabinet.errors import LinkError, Refused
from cabinet.link import guard_protocol
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_link import GuardLink
from cabinet.link.guard_protocol import (
    MAX_CYCLES,
    MAX_SIREN_S,
    MAX_TRIAL_S,
    AskBus,
    ClearLatch,
    CycleRelay,
    Done,
    Energise,
    Open,
    Recent,
    ReplaceRelay,
    Role,
    SetContactorLockout,
    SetGains,
    SoundSiren,
    StartSelfTest,
    StartTestCharge,
    TakeOutOfService,
    TestAlertLine,
    TestResidual,
)
from cabinet.link.server import HELLO_NS, MAX_SILENT, RECENT_EVENTS, EventLog
from cabinet.maintenance import Gains
from cabinet.model import (
    ChargeLimits,
    EndReason,
    Event,
    EventKind,
    Fault,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
)
from cabinet_testing.console_snapshots import BUS, snapshot
from cabinet_testing.fake_guard import FakeGuard

SNAPSHOT = snapshot()


def event(kind=EventKind.CLOSED) -> Event:
    return Event("", 0, 1, kind, outlet=1)


def test_console_sees_the_cabinet_and_its_commands_are_done(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.snapshot() == SNAPSHOT
        link.request(lambda n: ClearLatch(n, 1, "staff"))
    assert guard.commands == [ClearLatch(2, 1, "staff")]


def test_console_sees_the_bus_and_may_have_it_searched(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.bus() == BUS
        assert guard.scans == 0
        assert link.bus(scan=True) == BUS
        assert guard.scans == 1


def test_console_sees_recent_events_also_those_acknowledged(guard):
    numbered = [guard.events.add(event(EventKind.CLOSED)) for _ in range(3)]
    guard.events.acknowledge("run-1", 2)
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
    assert len(guard_protocol.encode(Recent(2**63 - 1, [longest] * RECENT_EVENTS))) <= guard_protocol.MAX_FRAME


def test_refusal_reaches_the_caller_with_its_code_and_numbers(guard):
    guard.refuse[Open] = ["outlet_busy"]
    with BlockingGuard(guard.path, Role.CONSOLE) as link, pytest.raises(Refused) as refused:
        link.request(lambda n: Open(n, 9, EndReason.STOPPED_BY_STAFF))
    assert (refused.value.code, refused.value.params) == ("outlet_busy", {"outlet": 9})


@pytest.mark.parametrize("role", [Role.CONSOLE, Role.VIEWER])
def test_only_the_service_may_energise(guard, role):
    with BlockingGuard(guard.path, role) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: Energise(n, 1, "s1", ChargeLimits()))
    assert guard.commands == []


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
    assert guard.commands == []


@pytest.mark.parametrize("frame", [b"\xff" * 9, b"\x91" * 3000, packed(Done(1)).replace(b"done", b"d\xffne")])
def test_frame_that_is_no_message_is_a_link_error_for_a_client_too(frame):
    with pytest.raises(LinkError):
        guard_protocol.decode_from_guard(frame)


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
    assert len(guard_protocol.encode(snapshot)) < guard_protocol.MAX_FRAME / 2


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


def talk_until(link: BlockingGuard, stop: threading.Event) -> None:
    while not stop.is_set():
        link.snapshot()


async def collect(guard: FakeGuard, enough: int, acknowledge: bool) -> list[int]:
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
        guard = FakeGuard.showing(SNAPSHOT)
        async with asyncio.timeout(5):
            with guard.serving(tmp_path / "guard.sock"):
                await changed.wait()
                await link.request(lambda n: Open(n, 1, EndReason.FULL))
                guard.refuse[Open] = ["outlet_busy"]
                with pytest.raises(Refused, match="outlet_busy"):
                    await link.request(lambda n: Open(n, 9, EndReason.FULL))
                changed.clear()
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
    assert {type(command) for command in STAFF} == set(guard_protocol.STAFF_COMMANDS)


@pytest.mark.parametrize("command", STAFF, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("role", [Role.SERVICE, Role.VIEWER])
def test_what_staff_ask_comes_from_the_console_only(guard, role, command):
    assert guard_protocol.decode_from_client(guard_protocol.encode(command)) == command
    with BlockingGuard(guard.path, role) as link, pytest.raises(Refused, match="not_allowed"):
        link.request(lambda n: msgspec.structs.replace(command, id=n))
    assert guard.commands == []


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
        guard_protocol.decode_from_client(guard_protocol.encode(command))


def test_upkeep_is_told_to_the_console(guard):
    with BlockingGuard(guard.path, Role.CONSOLE) as link:
        assert link.maintenance_state() == guard.maintenance_state()
