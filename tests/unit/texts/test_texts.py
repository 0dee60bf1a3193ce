"""Every text exists in every language, with the same blanks to fill, and every code has its text."""

import string
from importlib import resources
from typing import get_args

import pytest

from cabinet import model, texts
from cabinet.records import CostLine
from cabinet.reports import usage_csv
from cabinet.service.ports import ChoiceKind, OutletCondition, SessionState

PARTS = sorted(
    {entry.name.split(".")[0] for entry in resources.files("cabinet.texts").iterdir() if ".toml" in entry.name}
)


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_there_are_texts_to_compare() -> None:
    assert {"common", "web"} <= set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_every_language_has_the_same_keys(part: str) -> None:
    first, *others = (set(texts.table(part, language)) for language in texts.LANGUAGES)
    for other in others:
        assert other ^ first == set()


@pytest.mark.parametrize("part", PARTS)
def test_every_language_fills_the_same_blanks(part: str) -> None:
    tables = [texts.table(part, language) for language in texts.LANGUAGES]
    differing = [key for key in tables[0] if len({frozenset(blanks(table[key])) for table in tables}) > 1]
    assert differing == []


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_no_text_is_empty(part: str, language: str) -> None:
    assert [key for key, text in texts.table(part, language).items() if not text.strip()] == []


def test_every_code_has_a_text() -> None:
    lines = CostLine.__annotations__["kind"]
    codes = (
        {f"refusal.{code}" for code in model.REFUSALS}
        | {f"fault.{fault.value}.{who}" for fault in model.Fault for who in ("name", "resident", "staff")}
        | {f"end_reason.{reason.value}" for reason in model.EndReason}
        | {f"phase.{phase.value}" for phase in model.Phase}
        | {f"condition.{condition}" for condition in get_args(OutletCondition)}
        | {f"state.{state}" for state in get_args(SessionState)}
        | {f"choice.{kind}" for kind in get_args(ChoiceKind)}
        | {f"line.{kind}" for kind in get_args(lines)}
        | {f"usage.{column}" for column in usage_csv.COLUMNS}
    )
    assert codes - set(texts.table("common", "zh")) == set()
    ended = {f"ended.{reason.value}" for reason in model.EndReason}
    assert ended - set(texts.table("web", "zh")) == set()


def test_refusals_need_nothing_filled_in() -> None:
    common = texts.table("common", "zh")
    assert {key for key in common if key.startswith("refusal.") and blanks(common[key])} == set()


def test_a_text_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError):
        texts.Texts("web", "zh")("no.such.text")
