"""Durations from the trusted clocks."""

import pytest

from cabinet.clock import NS
from cabinet.store.moment import Moment, at_monotonic, seconds_between

THEN = Moment("boot-1", 100 * NS, 1_000_000, True)


@pytest.mark.parametrize(
    ("later", "seconds"),
    [
        pytest.param(Moment("boot-1", 130 * NS, 1_030_000, True), 30.0, id="the same boot: monotonic"),
        pytest.param(Moment("boot-1", 130 * NS, 9_999_000_000, True), 30.0, id="whatever the wall clock did"),
        pytest.param(Moment("boot-1", 130 * NS, 0, False), 30.0, id="or says of itself"),
        pytest.param(Moment("boot-2", 5 * NS, 1_060_000, True), 60.0, id="another boot: wall, where right both times"),
        pytest.param(
            Moment("boot-2", 5 * NS, 1_060_000, False), None, id="another boot and no right time yet: unknown"
        ),
        pytest.param(Moment("boot-2", 5 * NS, 900_000, True), None, id="a wall clock that went back: unknown"),
    ],
)
def test_seconds_between(later: Moment, seconds: float | None) -> None:
    assert seconds_between(THEN, later) == seconds


def test_back_dating_moves_both_clocks() -> None:
    now = Moment("boot-1", 100 * NS, 1_000_000, True)
    assert at_monotonic(now, 70 * NS) == Moment("boot-1", 70 * NS, 970_000, True)


def test_what_is_said_to_come_from_the_future_is_now() -> None:
    assert at_monotonic(THEN, 101 * NS) == THEN
