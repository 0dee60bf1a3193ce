"""Pauses between connections: never none, never above the longest, spread over the whole range."""

import random

from hypothesis import given
from hypothesis import strategies as st

from cabinet.uplink.back_off import FIRST_S, LASTED_S, MAX_S, MIN_PAUSE_S, BackOff

chances = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40)


@given(chances, st.booleans())
def test_no_pause_is_too_short_or_too_long(numbers, refused):
    left = iter(numbers)
    back_off = BackOff(lambda: next(left))
    for attempt in range(len(numbers)):
        pause_s = back_off.pause_s(refused)
        assert MIN_PAUSE_S <= pause_s <= (MAX_S if refused else min(FIRST_S * 2**attempt, MAX_S))


def test_range_doubles_until_the_longest_and_stays_there():
    back_off = BackOff(lambda: 1.0)
    assert [back_off.pause_s() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_refusal_goes_to_the_longest_range_at_once():
    back_off = BackOff(lambda: 1.0)
    assert back_off.pause_s(refused=True) == MAX_S
    assert back_off.pause_s() == MAX_S


@given(st.floats(0, 100_000))
def test_only_a_connection_that_lasted_shortens_the_pauses(lasted_s):
    back_off = BackOff(lambda: 1.0)
    for _ in range(5):
        back_off.pause_s()
    back_off.lasted(lasted_s)
    assert back_off.pause_s() == (FIRST_S if lasted_s >= LASTED_S else 32)


def test_ten_thousand_cabinets_that_fail_together_do_not_come_together():
    """After six failures they are spread: the busiest second of the range has less than 5 % of all."""
    numbers = random.Random(1)
    arrivals = []
    for _ in range(10_000):
        back_off = BackOff(numbers.random)
        arrivals.append(sum(back_off.pause_s() for _ in range(6)))
    busiest = max(sum(second <= at < second + 1 for at in arrivals) for second in range(int(max(arrivals)) + 1))
    assert busiest < 500
