"""The numbers of a trip are read in the reader's language, whichever protection gave them."""

import ast
from importlib import resources
from pathlib import Path

import pytest

from cabinet import texts
from cabinet.texts import LANGUAGES, Texts
from cabinet.texts.trip_values import trip_values_text

SOURCES = [
    *Path(str(resources.files("cabinet.protections"))).glob("*.py"),
    *(Path(str(resources.files("cabinet.guard"))) / name for name in ("switching.py", "shared.py")),
]


def names() -> set[str]:
    """Every name in a literal that the protections give as the numbers which trip them; `outlet` is taken out."""
    literals = [
        node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Dict)
    ]
    found = {key.value for node in literals for key in node.keys if isinstance(key, ast.Constant)}
    return {name for name in found if isinstance(name, str)} - {"outlet"}


def test_every_number_of_every_protection_has_its_words_and_no_others_do() -> None:
    for language in LANGUAGES:
        told = {key.removeprefix("why.") for key in texts.table("common", language) if key.startswith("why.")}
        assert told == names()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(names()))
def test_no_name_of_a_number_is_left_as_programs_write_it(name: str, language: str) -> None:
    said = trip_values_text({name: 61_200}, Texts("common", language))
    assert "_" not in said
    if language == "zh":
        assert not [letter for letter in said if letter.isascii() and letter.isalpha()]


def test_numbers_of_a_trip_in_both_languages() -> None:
    values = {"peak_ma": 61_200, "earlier_peak_ma": 58_000, "limit_ma": 30_000}
    assert trip_values_text(values, Texts("common", "en")) == "peak 61.2 A, earlier peak 58 A, limit 30 A"
    assert trip_values_text(values, Texts("common", "zh")) == "峰值 61.2 安，此前峰值 58 安，限值 30 安"
    hot = {"temperature_mc": 61_000, "rise_mc_per_min": 5_500, "limit_mc_per_min": 5_000}
    assert trip_values_text(hot, Texts("common", "zh")) == "温度 61 ℃，每分钟上升 5.5 ℃，限值每分钟 5 ℃"
    assert (
        trip_values_text({"current_ma": 12_000, "heat_percent": 101}, Texts("common", "en"))
        == "current 12 A, heat 101%"
    )


def test_a_number_that_this_version_does_not_know_is_said_as_it_is_named() -> None:
    assert trip_values_text({"peak_ma": 1000, "new_mk": 2500}, Texts("common", "zh")) == "峰值 1 安，new 2.5 K"
