"""One normal form per kind of value: however a value is typed, the same comes out, and twice is as once."""

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cabinet
from cabinet import normal_form, plain_text
from cabinet.web import auth

CHARACTERS = st.characters()  # half characters too: a command line may hold them
TEXT = st.text(CHARACTERS, max_size=60) | st.text(
    st.sampled_from("\x00\x07\t\r\n\x1b\x7f\x9b\u00a0\u00ad\u200b\u200d\u202e\u2066\u3000\ufeff\ufe0f=＋@-a１王é👨👩"),
    max_size=30,
)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("王\u3000芳", "王 芳"),
        ("李\u00a0伟", "李 伟"),
        ("\u3000欧阳娜娜 \t ", "欧阳娜娜"),
        ("王\u200b芳\ufeff", "王芳"),
        ("\u202d13800000000\u202c", "13800000000"),
        ("老王👨\u200d👩\u200d👧", "老王👨\u200d👩\u200d👧"),
        ("a\u200db", "ab"),
        ("𠮷\U00031350", "𠮷\U00031350"),
        ("e\u0301", "é"),
        ("\x1b]0;x\x07\x1b[2J", "\ufffd]0;x\ufffd\ufffd[2J"),
        ("one\r\ntwo", "one two"),
        ("\x00", "\ufffd"),
        ("\udcff", "\ufffd"),
    ],
)
def test_a_name_or_note_has_plain_blanks_and_nothing_unseen(typed: str, name: str) -> None:
    assert normal_form.text(typed) == name


@pytest.mark.parametrize(
    "typed",
    ["AB-12", "ab-12", "ＡＢ－１２", " ab–12 ", "a b\u00a0-\u30001 2", "\u202dAB-12\u202c", "ab−12", "ａｂー１２"],
)
def test_a_card_has_one_form_however_it_is_typed(typed: str) -> None:
    assert normal_form.card(typed) == "AB-12"


@pytest.mark.parametrize("typed", ["00012345", "０００１２３４５", "000 123 45", "0001-2345", "\u200b00012345"])
def test_digits_keep_their_zeros_and_lose_their_groups(typed: str) -> None:
    assert normal_form.digits(typed) == "00012345"


@pytest.mark.parametrize(
    ("typed", "fen"),
    [
        ("20", 2000),
        ("２０．５", 2050),
        (" 12.50\u3000", 1250),
        ("12.505", None),
        ("-1", None),
        ("１e3", None),
        ("5²", None),
        ("①", None),
        ("٣", None),
        ("", None),
    ],
)
def test_an_amount_is_read_exactly_in_any_width(typed: str, fen: int | None) -> None:
    assert normal_form.fen(typed) == fen


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("2026-11-04", datetime.date(2026, 11, 4)),
        ("２０２６－１１－０４", datetime.date(2026, 11, 4)),
        ("20261104", None),
        ("2026-W45-3", None),
        ("2026-02-30", None),
    ],
)
def test_a_day_is_read_in_any_width_and_one_order(typed: str, day: datetime.date | None) -> None:
    assert normal_form.day(typed) == day


def test_a_line_of_the_console_is_narrow_and_keeps_its_chinese_punctuation() -> None:
    assert normal_form.command_line("ＬＯＣＫ　３　坏了，请勿使用！（１号）") == "LOCK 3 坏了，请勿使用！（1号）"


@given(TEXT)
def test_the_normal_form_of_a_normal_form_is_itself(typed: str) -> None:
    for of in (normal_form.text, normal_form.card, normal_form.digits, normal_form.label, normal_form.login_name,
               normal_form.group, normal_form.command_line, normal_form.outlet_code):  # fmt: skip
        assert of(of(typed)) == of(typed)


def test_every_field_of_a_form_is_cleaned_but_secrets_and_files() -> None:
    typed = "ａ\u3000\x1b[2J\u202e"
    fields = auth.cleaned([(name, typed) for name in ("note", "name", "find", "password", "proof", "text")])
    assert {name for name, value in fields.items() if value == typed} == {"password", "proof", "text"}
    assert {value for value in fields.values() if value != typed} == {"ａ \ufffd[2J"}


def test_no_other_module_normalises() -> None:
    root = Path(cabinet.__file__).parent
    found = {path.name for path in root.rglob("*.py") if "unicodedata.normalize" in path.read_text(encoding="utf-8")}
    assert found == {"normal_form.py"}


@given(TEXT)
def test_what_comes_through_a_door_is_safe_at_every_exit(typed: str) -> None:
    for of in (normal_form.text, normal_form.card, normal_form.label, normal_form.command_line):
        assert plain_text.one_line(of(typed)) == of(typed)
