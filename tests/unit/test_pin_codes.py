"""A PIN that is tried first is refused when it is set."""

import secrets

import pytest

from cabinet import pin_codes


@pytest.mark.parametrize(
    "weak",
    ["", "4711", "47113", "000000", "111111", "999999999999", "123456", "012345", "987654", "890123", "1234567890123",
     "４７１１０８", "47110a", " 471108", "471108\n"],
)  # fmt: skip
def test_a_pin_that_is_short_one_digit_or_in_a_row_may_not_be_set(weak: str) -> None:
    assert not pin_codes.may_be_set(weak)


@pytest.mark.parametrize("pin", ["471108", "112233", "121212", "123465", "135792468013"])
def test_any_other_of_six_to_twelve_digits_may(pin: str) -> None:
    assert pin_codes.may_be_set(pin)


def test_random_pins_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([111111, 123456, 7, 471108])
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
    assert [pin_codes.random_pin(), pin_codes.random_pin()] == ["000007", "471108"]
