"""RelayBank: leases, opening that tries everything, and what the hardware remembers. Looked at from the other side:
levels of mock pins and bytes at a fake expander."""

import errno
import itertools
from collections.abc import Iterator

import pytest
from gpiozero.pins.mock import MockFactory

from cabinet.clock import MS, NS, ManualClock
from cabinet.errors import BusError, ChipError, HardwareError
from cabinet.relays import OutputMismatch, RelayBank, RelayPin
from cabinet_testing.relay_harness import (
    ALL,
    ALL_CLOSED,
    ALL_OPEN,
    CONTACTOR,
    EXPANDER,
    HEARTBEAT,
    OTHER_EXPANDER,
    POWER_ON,
    RELAY_4,
    RELAY_5,
    RelayHarness,
)


@pytest.fixture
def harness() -> Iterator[RelayHarness]:
    harness = RelayHarness()
    harness.bank.initialise()
    harness.bus.take_log()
    yield harness
    harness.bank.close()


@pytest.fixture
def closed(harness: RelayHarness) -> RelayHarness:
    """Everything closed for a second."""
    harness.bank.close_contactor()
    harness.hold_all()
    assert harness.hardware() == ALL_CLOSED
    harness.bus.take_log()
    return harness


# --- start -----------------------------------------------------------------------------------------------------------


def test_building_a_bank_drives_its_lines_low_and_touches_no_bus() -> None:
    harness = RelayHarness()
    functions = [harness.line(n).function for n in (CONTACTOR, HEARTBEAT, RELAY_4, RELAY_5)]
    assert functions == ["output"] * 4
    assert harness.lines() == ALL_OPEN[2]
    assert harness.bus.log == []


def test_initialise_clears_latches_before_pins_become_outputs() -> None:
    harness = RelayHarness()
    harness.bank.initialise()
    assert [entry for entry in harness.bus.log if "Sr" not in entry] == [
        "S 40 14 00 00 P",
        "S 40 00 FE FD P",  # only pins 0 and 9 become outputs
        "S 40 02 00 00 P",
        "S 42 14 00 00 P",
        "S 42 00 7F FF P",
        "S 42 02 00 00 P",
    ]
    assert (harness.told(), harness.bank.contactor_closed, harness.bank.unsent) == ([], False, frozenset())


def test_what_an_expander_held_before_initialise_is_not_taken_for_open() -> None:
    assert RelayHarness().bank.unsent == {1, 2, 3}


def test_initialise_goes_on_after_a_dead_expander_and_tells_of_it() -> None:
    harness = RelayHarness()
    harness.bus.failures[EXPANDER] = [errno.EREMOTEIO]
    with pytest.raises(BusError, match="MCP23017 at 0x20 register 0x014: EREMOTEIO"):
        harness.bank.initialise()
    assert harness.second.cells == POWER_ON | {"00": "7F FF"}
    harness.bank.hold(3, 10 * NS)
    with pytest.raises(ChipError, match="0x20: is not set up"):
        harness.bank.hold(1, 10 * NS)
    assert harness.told() == [3]
    harness.bank.initialise_expander(EXPANDER)
    harness.bank.hold(1, 10 * NS)
    assert harness.told() == [1, 3]
    harness.bank.close()


def test_a_line_that_cannot_be_had_is_named() -> None:
    pins = MockFactory()
    with pytest.raises(HardwareError, match=r"relay of outlet 4 on GPIO 23"):
        RelayBank([RelayPin(4, None, 23), RelayPin(4, None, 23)], {}, pins, None, 23, ManualClock())


# --- leases ----------------------------------------------------------------------------------------------------------


def test_hold_closes_and_a_renewal_sends_nothing(harness: RelayHarness) -> None:
    harness.bank.hold(2, 2 * NS)
    assert harness.bus.take_log() == ["S 40 14 00 02 P"]
    harness.bank.hold(2, 3 * NS)
    assert harness.bus.log == []
    assert (harness.told(), harness.bank.expire(2 * NS), harness.told()) == ([2], [], [2])


def test_hold_of_a_gpio_relay_drives_its_line(harness: RelayHarness) -> None:
    harness.bank.hold(4, 2 * NS)
    assert harness.lines() == {"contactor": False, "relay 4": True, "relay 5": False}
    assert harness.bus.log == []


def test_what_is_not_renewed_is_open_at_the_moment_its_lease_ends(closed: RelayHarness) -> None:
    until_ns = closed.clock.monotonic_ns() + NS
    closed.bank.hold(2, until_ns + 1)
    closed.bank.hold(5, until_ns + 1)
    assert closed.bank.expire(until_ns - 1) == []
    assert closed.bank.expire(until_ns) == [1, 3, 4]
    assert closed.hardware() == ("00 02", "00 00", {"contactor": True, "relay 4": False, "relay 5": True})
    assert [closed.bank.reason(outlet) for outlet in ALL] == [
        "lease_expired",
        None,
        "lease_expired",
        "lease_expired",
        None,
    ]
    assert closed.bank.expire(until_ns) == []


def test_leases_that_end_together_open_by_one_write_an_expander(closed: RelayHarness) -> None:
    closed.bank.expire(closed.clock.monotonic_ns() + NS)
    assert sorted(closed.bus.log) == ["S 40 14 00 00 P", "S 42 14 00 00 P"]


def test_a_lease_that_is_over_closes_nothing(harness: RelayHarness) -> None:
    harness.bank.hold(1, harness.clock.monotonic_ns())
    assert (harness.told(), harness.bus.log) == ([], [])


def test_an_unknown_outlet_is_a_bug(harness: RelayHarness) -> None:
    with pytest.raises(KeyError):
        harness.bank.hold(6, 10 * NS)
    assert harness.hardware() == ALL_OPEN


@pytest.mark.parametrize("outlet", [2, 4], ids=["expander", "gpio"])
def test_when_closing_fails_the_outlet_is_open_and_is_opened_again_on_the_next_tick(
    harness: RelayHarness, outlet: int
) -> None:
    harness.bus.failures[EXPANDER] = [errno.ETIMEDOUT]
    harness.line(RELAY_4).failing = True
    with pytest.raises((BusError, HardwareError)):
        harness.bank.hold(outlet, 10 * NS)
    assert (harness.told(), harness.bank.unsent, harness.bank.reason(outlet)) == ([], {outlet}, "closing_failed")
    harness.line(RELAY_4).failing = False
    harness.bus.take_log()
    assert harness.bank.expire(NS) == []
    assert harness.bus.log == (["S 40 14 00 00 P"] if outlet == 2 else [])
    assert (harness.hardware(), harness.bank.unsent) == (ALL_OPEN, frozenset())


def test_failure_to_close_on_gpio_names_the_line(harness: RelayHarness) -> None:
    harness.line(RELAY_4).failing = True
    with pytest.raises(HardwareError, match=r"relay of outlet 4 on GPIO 23: .*line is gone"):
        harness.bank.hold(4, 10 * NS)


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outlet", ALL)
def test_release_opens_one_outlet_and_no_other(closed: RelayHarness, outlet: int) -> None:
    assert closed.bank.release(outlet, "short_circuit") == []
    assert closed.told() == [other for other in ALL if other != outlet]
    first = {1: "00 02", 2: "01 00"}.get(outlet, "01 02")
    second = "00 00" if outlet == 3 else "80 00"
    lines = {"contactor": True, "relay 4": outlet != 4, "relay 5": outlet != 5}
    assert closed.hardware() == (first, second, lines)


def test_releasing_again_sends_nothing_and_keeps_the_first_reason(closed: RelayHarness) -> None:
    closed.bank.release(1, "short_circuit")
    closed.bus.take_log()
    assert closed.bank.release(1, "stopped_by_staff") == []
    assert (closed.bus.log, closed.bank.reason(1)) == ([], "short_circuit")


def test_the_reason_is_gone_with_the_next_closing(closed: RelayHarness) -> None:
    closed.bank.release(1, "short_circuit")
    closed.bank.hold(1, 10 * NS)
    assert closed.bank.reason(1) is None
    closed.bank.release(1, "full")
    assert closed.bank.reason(1) == "full"


def test_what_could_not_be_opened_counts_as_open_and_is_tried_on_every_tick(closed: RelayHarness) -> None:
    closed.bus.failures[EXPANDER] = [errno.ETIMEDOUT, errno.ETIMEDOUT]
    errors = closed.bank.release(2, "outlet_hot")
    assert [str(error) for error in errors] == ["MCP23017 at 0x20 register 0x014: ETIMEDOUT"]
    assert (closed.bank.is_closed(2), closed.bank.unsent) == (False, {2})
    now_ns = closed.clock.monotonic_ns()
    closed.bank.expire(now_ns)
    assert closed.bank.unsent == {2}
    closed.bank.expire(now_ns)
    assert (closed.bank.unsent, closed.first.cells["14"], closed.bank.reason(2)) == (frozenset(), "01 00", "outlet_hot")
    closed.bus.take_log()
    closed.bank.expire(now_ns)
    assert closed.bus.log == []


def test_closing_a_neighbour_delivers_an_opening_that_was_owed(closed: RelayHarness) -> None:
    closed.bank.release(1, "full")
    closed.bus.failures[EXPANDER] = [errno.EREMOTEIO]
    closed.bank.release(2, "outlet_hot")
    closed.bank.hold(1, 10 * NS)
    assert (closed.first.cells["14"], closed.bank.unsent) == ("01 00", frozenset())


def test_opening_times_are_those_the_hardware_took(closed: RelayHarness) -> None:
    start_ns = closed.clock.monotonic_ns()
    closed.bus.failures[EXPANDER] = [errno.EREMOTEIO]
    closed.clock.advance_ns(MS)
    closed.bank.release(2, "outlet_hot")
    assert closed.bank.opened_at_ns(2) == start_ns + MS
    closed.clock.advance_ns(MS)
    closed.bank.expire(closed.clock.monotonic_ns())
    closed.clock.advance_ns(MS)
    closed.bank.open_all("guard_late")  # is open already
    closed.bank.release(2, "full")
    assert closed.bank.opened_at_ns(2) == start_ns + 2 * MS
    assert (closed.bank.closed_at_ns(2), closed.bank.opened_at_ns(1)) == (start_ns, start_ns + 3 * MS)


def test_an_outlet_never_closed_has_no_closing_time(harness: RelayHarness) -> None:
    assert (harness.bank.closed_at_ns(1), harness.bank.opened_at_ns(1)) == (None, NS)


def test_open_all_opens_contactor_first_and_everything(closed: RelayHarness) -> None:
    contactor_when_the_bus_is_used: list[bool] = []
    closed.bus.before = lambda: contactor_when_the_bus_is_used.append(closed.line(CONTACTOR).state)
    assert closed.bank.open_all("guard_late") == []
    assert contactor_when_the_bus_is_used == [False, False]
    assert (closed.hardware(), closed.told(), closed.bank.contactor_closed) == (ALL_OPEN, [], False)
    assert [closed.bank.reason(outlet) for outlet in ALL] == ["guard_late"] * 5


def test_open_all_keeps_first_reasons_and_sends_again(closed: RelayHarness) -> None:
    closed.bank.release(1, "short_circuit")
    closed.bank.open_all("guard_late")
    closed.bus.take_log()
    assert closed.bank.open_all("stopped") == []
    assert sorted(closed.bus.log) == ["S 40 14 00 00 P", "S 42 14 00 00 P"]
    assert [closed.bank.reason(outlet) for outlet in ALL] == ["short_circuit", *["guard_late"] * 4]


def test_with_a_dead_bus_contactor_and_gpio_relays_open_all_the_same(closed: RelayHarness) -> None:
    closed.bus.dead = errno.ETIMEDOUT
    errors = closed.bank.open_all("guard_late")
    assert sorted(str(error) for error in errors) == [
        "MCP23017 at 0x20 register 0x014: ETIMEDOUT",
        "MCP23017 at 0x21 register 0x014: ETIMEDOUT",
    ]
    assert closed.hardware() == ("01 02", "80 00", ALL_OPEN[2])
    assert (closed.told(), closed.bank.unsent) == ([], {1, 2, 3})
    closed.bus.dead = None
    closed.bank.expire(closed.clock.monotonic_ns())
    assert (closed.hardware(), closed.bank.unsent) == (ALL_OPEN, frozenset())


@pytest.mark.parametrize(
    ("broken", "left_closed"),
    [
        ({CONTACTOR}, {"contactor"}),
        ({RELAY_4}, {"relay 4"}),
        ({RELAY_4, RELAY_5, CONTACTOR}, {"relay 4", "relay 5", "contactor"}),
    ],
    ids=["contactor", "one relay", "all lines"],
)
def test_a_broken_line_keeps_nothing_else_closed(closed: RelayHarness, broken: set[int], left_closed: set[str]) -> None:
    for number in broken:
        closed.line(number).failing = True
    errors = closed.bank.open_all("guard_late")
    assert [str(error) for error in errors] == ["[Errno 5] line is gone"] * len(broken)
    assert closed.hardware() == ("00 00", "00 00", {name: name in left_closed for name in ALL_OPEN[2]})
    assert (closed.told(), closed.bank.contactor_closed) == ([], False)
    for number in broken:
        closed.line(number).failing = False


@pytest.mark.parametrize("broken", list(itertools.product([False, True], repeat=4)), ids=str)
def test_every_mixture_of_failures_opens_all_that_can_be_opened(broken: tuple[bool, ...]) -> None:
    harness = RelayHarness()
    harness.bank.initialise()
    harness.bank.close_contactor()
    harness.hold_all()
    first, second, relay, contactor = broken
    harness.bus.failures = {EXPANDER: [errno.EIO] * first, OTHER_EXPANDER: [errno.EIO] * second}
    harness.line(RELAY_4).failing, harness.line(CONTACTOR).failing = relay, contactor
    errors = harness.bank.open_all("guard_late")
    assert len(errors) == sum(broken)
    assert harness.hardware() == (
        "01 02" if first else "00 00",
        "80 00" if second else "00 00",
        {"contactor": contactor, "relay 4": relay, "relay 5": False},
    )
    assert (harness.told(), harness.bank.unsent) == (
        [],
        {*([1, 2] if first else []), *([3] if second else []), *([4] if relay else [])},
    )


# --- contactor and heartbeat -----------------------------------------------------------------------------------------


def test_contactor_follows_its_calls(harness: RelayHarness) -> None:
    harness.bank.close_contactor()
    assert (harness.line(CONTACTOR).state, harness.bank.contactor_closed) == (True, True)
    harness.bank.open_contactor()
    assert (harness.line(CONTACTOR).state, harness.bank.contactor_closed) == (False, False)


def test_without_contactor_and_heartbeat_power_is_there_and_nothing_fails() -> None:
    bank = RelayBank([], {}, MockFactory(), None, None, ManualClock())
    bank.initialise()
    bank.beat()
    bank.close_contactor()
    bank.open_contactor()
    assert (bank.has_contactor, bank.contactor_closed, bank.open_all("guard_late")) == (False, True, [])


def test_each_beat_is_one_edge(harness: RelayHarness) -> None:
    line = harness.line(HEARTBEAT)
    line.clear_states()
    for _ in range(5):
        harness.bank.beat()
    assert [state.state for state in line.states] == [False, True, False, True, False, True]


# --- read-back -------------------------------------------------------------------------------------------------------


def test_outputs_that_agree_are_no_news(closed: RelayHarness) -> None:
    assert closed.bank.check_outputs() == []
    assert closed.bus.log == [
        "S 40 00 Sr 41 FE FD P", "S 40 14 Sr 41 01 02 P", "S 40 12 Sr 41 01 02 P", "S 40 02 Sr 41 00 00 P",
        "S 42 00 Sr 43 7F FF P", "S 42 14 Sr 43 80 00 P", "S 42 12 Sr 43 80 00 P", "S 42 02 Sr 43 00 00 P",
    ]  # fmt: skip


def test_a_setting_that_was_lost_is_set_right_and_told_once_and_moves_no_relay(closed: RelayHarness) -> None:
    closed.first.cells["02"] = "FF FF"
    for _ in range(2):
        assert closed.bank.check_outputs() == []
    assert (closed.first.cells["02"], closed.bank.take_resets(), closed.bank.take_resets()) == ("00 00", [EXPANDER], [])
    assert closed.hardware()[:2] == ("01 02", "80 00")


def test_a_latch_that_differs_is_told_for_its_outlets_only(closed: RelayHarness) -> None:
    closed.bank.release(1, "full")
    closed.first.cells["14"] = "01 00"
    assert closed.bank.check_outputs() == [
        OutputMismatch(1, commanded_closed=False, found_closed=True, problem="output_differs"),
        OutputMismatch(2, commanded_closed=True, found_closed=False, problem="output_differs"),
    ]


def test_what_is_found_closed_is_opened_on_the_next_tick_and_what_is_found_open_stays_open(
    closed: RelayHarness,
) -> None:
    closed.bank.release(1, "full")
    closed.bank.release(2, "full")
    closed.first.cells["14"], closed.second.cells["14"] = "01 00", "00 00"
    closed.bank.check_outputs()
    assert closed.bank.unsent == {1}
    closed.bank.expire(closed.clock.monotonic_ns())
    assert closed.hardware()[:2] == ("00 00", "00 00")


def test_a_pin_held_low_is_told_although_the_latch_agrees(closed: RelayHarness) -> None:
    closed.first.held_low = 1 << 9
    assert closed.bank.check_outputs() == [
        OutputMismatch(2, commanded_closed=True, found_closed=False, problem="output_differs")
    ]


def test_a_gpio_line_that_differs_is_told(closed: RelayHarness) -> None:
    closed.line(RELAY_5).state = False
    assert closed.bank.check_outputs() == [
        OutputMismatch(5, commanded_closed=True, found_closed=False, problem="output_differs")
    ]


def test_an_expander_back_at_power_on_values_is_told_and_closes_nothing_until_set_up(closed: RelayHarness) -> None:
    closed.bank.release(1, "full")
    closed.first.cells |= POWER_ON
    assert closed.bank.check_outputs() == [
        OutputMismatch(1, commanded_closed=False, found_closed=False, problem="expander_reset"),
        OutputMismatch(2, commanded_closed=True, found_closed=False, problem="expander_reset"),
    ]
    with pytest.raises(ChipError, match="is not set up"):
        closed.bank.hold(1, 10 * NS)
    closed.bank.initialise_expander(EXPANDER)
    assert (closed.told(), closed.bank.reason(2), closed.first.cells["14"]) == ([3, 4, 5], "expander_reset", "00 00")
    assert closed.bank.check_outputs() == []


def test_an_expander_whose_setting_up_failed_closes_nothing(closed: RelayHarness) -> None:
    closed.bus.failures[EXPANDER] = [errno.EREMOTEIO]
    with pytest.raises(BusError):
        closed.bank.initialise_expander(EXPANDER)
    with pytest.raises(ChipError, match="is not set up"):
        closed.bank.hold(1, 10 * NS)
    assert closed.told() == [3, 4, 5]
    closed.bank.expire(NS)
    assert closed.hardware()[:2] == ("00 00", "80 00")


def test_an_expander_that_cannot_be_read_is_told_and_the_others_are_read(closed: RelayHarness) -> None:
    closed.bus.failures[EXPANDER] = [errno.EREMOTEIO]
    closed.second.cells["14"] = "00 00"
    assert closed.bank.check_outputs() == [
        OutputMismatch(1, commanded_closed=True, found_closed=None, problem="unreadable"),
        OutputMismatch(2, commanded_closed=True, found_closed=None, problem="unreadable"),
        OutputMismatch(3, commanded_closed=True, found_closed=False, problem="output_differs"),
    ]
