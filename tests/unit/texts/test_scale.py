"""Ticks of the charts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.texts.scale import ABOUT, round_scale


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 0, [0, 1]), (0, 4, [0, 1, 2, 3, 4]), (0, 7.5, [0, 2, 4, 6, 8]), (0, 160, [0, 50, 100, 150, 200]),
        (0, 3001, [0, 1000, 2000, 3000, 4000]), (-3, 5, [-4, -2, 0, 2, 4, 6]),
        (49_800, 50_100, [49_800, 49_900, 50_000, 50_100]),
    ],
)  # fmt: skip
def test_ticks_are_round(low, high, ticks):
    assert list(round_scale(low, high)) == ticks


@given(st.integers(-(10**7), 10**7), st.floats(0, 1e7))
def test_scale_holds_its_values_with_few_ticks(low, span):
    scale = round_scale(low, low + span)
    assert scale[0] <= low <= low + span <= scale[-1]
    assert 2 <= len(scale) <= ABOUT + 2
    assert str(scale.step).rstrip("0") in {"1", "2", "5"}
