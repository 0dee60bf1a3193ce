"""Operations that take some time, as generators that never block: a generator yields until it is finished.

`LiveView` steps it a few times a second: a key, a hang-up or a logout can end it, and the port is served meanwhile.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from cabinet.clock import NS
from cabinet.console.command import CommandContext, CommandResult, LiveView
from cabinet.errors import Refused
from cabinet.link.guard_protocol import Open
from cabinet.model import EndReason, OutletState, Quality, Reading

T = TypeVar("T")
Steps = Generator[str, None, T]
"""Generator that yields a line to show (empty: no new line); its return value is the result."""

PERIOD_S = 0.3
CLOSING_NS = 5 * NS
SETTLE_NS = 1_200_000_000  # the meter's mean settles in 0.2 s, and each value is read every half second
SAMPLES = 5


def run_in_view(steps: Steps[T], then: Callable[[T], CommandResult], leave: Callable[[], str] = lambda: "") -> LiveView:
    """Step the generator and pass its result to `then`. If a person ends it early, close it, then call `leave`."""
    result: list[T] = []

    def step() -> str | None:
        try:
            return next(steps)
        except StopIteration as end:
            result.append(end.value)
            return None

    def on_end() -> str:
        if result:
            return ""
        steps.close()
        return leave()

    return LiveView(PERIOD_S, step, on_end, then=lambda: then(result[0]))


def wait_until(context: CommandContext, within_ns: int, holds: Callable[[], T | None]) -> Steps[T | None]:
    """Return the first result of `holds` that is not None; None if there is none within `within_ns`."""
    end_ns = context.now_ns + within_ns
    while (found := holds()) is None and context.now_ns < end_ns:
        yield ""
    return found


def wait_for(context: CommandContext, for_ns: int) -> Steps[None]:
    end_ns = context.now_ns + for_ns
    while context.now_ns < end_ns:
        yield ""


def mean_load(context: CommandContext, number: int) -> Steps[tuple[int, int]]:
    """Return the mean current (mA) and power (mW) of `SAMPLES` readings, each taken after the load has settled.

    Raises Refused `test_ended` if the outlet opens meanwhile, `sensor_lost` if a reading is not valid.
    """
    yield from wait_for(context, SETTLE_NS)
    from_ns = context.now_ns
    seen: dict[int, tuple[int, int]] = {}
    while len(seen) < SAMPLES:
        state = context.state(number)
        if not state.closed:
            raise Refused("test_ended", outlet=number)
        current, power = state.current_ma, state.power_mw
        if not _good(current) or not _good(power):
            raise Refused("sensor_lost")
        if current.at_ns > from_ns and power.at_ns > from_ns:
            seen[power.at_ns] = (current.value or 0, power.value or 0)
        yield ""
    return sum(ma for ma, _ in seen.values()) // SAMPLES, sum(mw for _, mw in seen.values()) // SAMPLES


def wait_until_closed(context: CommandContext, number: int) -> Steps[OutletState]:
    """Return the outlet once it is closed for its test charge. Raises Refused `test_ended` if it does not close."""

    def look() -> OutletState | None:
        state = context.state(number)
        return state if state.closed and state.trial else None

    state = yield from wait_until(context, CLOSING_NS, look)
    if state is None:
        raise Refused("test_ended", outlet=number)
    return state


def open_test(context: CommandContext, number: int) -> None:
    """Open the outlet if it is closed for a test charge of this account; a resident's charge continues."""
    context.guard.request(lambda id: Open(id, number, EndReason.STOPPED_BY_STAFF, f"test:{context.who}", context.who))


def _good(reading: Reading) -> bool:
    return reading.quality is Quality.OK and reading.value is not None
