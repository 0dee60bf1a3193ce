"""Integers as people read them."""

import pytest

from cabinet.texts import number_format


@pytest.mark.parametrize(
    ("fen", "text"), [(0, "0.00"), (5, "0.05"), (30, "0.30"), (100, "1.00"), (-5, "-0.05"), (-1234, "-12.34")]
)
def test_yuan_has_both_decimals_and_its_sign(fen: int, text: str) -> None:
    assert number_format.yuan(fen) == text


@pytest.mark.parametrize(
    ("energy_mwh", "text"), [(0, "0.000"), (999, "0.000"), (352_999, "0.352"), (12_000_000, "12.000")]
)
def test_kwh_is_rounded_down_as_the_bill_is(energy_mwh: int, text: str) -> None:
    assert number_format.kwh(energy_mwh) == text


@pytest.mark.parametrize(("power_mw", "text"), [(0, "0"), (499, "0"), (500, "1"), (152_400, "152")])
def test_watts_are_rounded_to_the_nearest(power_mw: int, text: str) -> None:
    assert number_format.watts(power_mw) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0"), (59, "0.9"), (60, "1.0"), (3555, "59.2")])
def test_minutes_are_rounded_down(seconds: int, text: str) -> None:
    assert number_format.minutes(seconds) == text


@pytest.mark.parametrize(("temperature_mc", "text"), [(24_499, "24"), (24_500, "25"), (-4_600, "-5"), (-400, "0")])
def test_degrees_are_rounded_to_the_nearest(temperature_mc: int, text: str) -> None:
    assert number_format.celsius(temperature_mc) == text
