"""Codes by the time of day, against RFC 6238's own vectors."""

import pytest

from cabinet.service.accounts import totp

SECRET = b"12345678901234567890"

# appendix B, SHA-1
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("unix_s", "code"), VECTORS)
def test_codes_are_those_of_the_rfc(unix_s: int, code: str) -> None:
    assert totp.code_of(SECRET, unix_s // totp.STEP_S, digits=8) == code
    assert totp.code_of(SECRET, unix_s // totp.STEP_S) == code[2:]


@pytest.mark.parametrize(("drift", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_one_step_early_or_late(drift: int, good: bool) -> None:
    step = 1_000_000
    found = totp.step_of(SECRET, totp.code_of(SECRET, step + drift), step * totp.STEP_S, after=0)
    assert found == (step + drift if good else None)


def test_a_used_step_and_those_before_it_are_no_good_any_more() -> None:
    step = 1_000_000
    for drift in (-1, 0):
        assert totp.step_of(SECRET, totp.code_of(SECRET, step + drift), step * totp.STEP_S, after=step) is None
    assert totp.step_of(SECRET, totp.code_of(SECRET, step + 1), step * totp.STEP_S, after=step) == step + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12 456"])
def test_what_is_no_code_is_told_apart_and_matches_nothing(code: str) -> None:
    assert not totp.is_code(code)
    assert totp.step_of(SECRET, code, 30_000_000, after=0) is None


def test_at_the_very_first_step_there_is_none_before_it() -> None:
    assert totp.step_of(SECRET, totp.code_of(SECRET, 0), 0, after=-1) == 0


def test_a_phone_is_told_the_secret_in_groups_and_as_an_address() -> None:
    assert totp.secret_text(SECRET) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
    assert totp.address(SECRET, "小区: 1", "a b") == (
        "otpauth://totp/%E5%B0%8F%E5%8C%BA%20%201:a%20b"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=%E5%B0%8F%E5%8C%BA%20%201"
    )
