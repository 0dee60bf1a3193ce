"""The glossary is about the code as it is: every name that it gives is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split(" | ")] for line in PAGE.splitlines() if re.match(r"\| (?!term \|)", line)]
MIN_TERMS = 60


def sources() -> str:
    kinds = ("*.py", "*.html", "*.sql", "*.toml")
    files = [file for room in ("cabinet", "fleet") for kind in kinds for file in (ROOT / room).rglob(kind)]
    return "\n".join(f"{file.stem}\n{file.read_text(encoding='utf-8')}" for file in files)


def test_there_are_enough_terms_and_none_twice():
    terms = [row[0].removeprefix("| ") for row in ROWS]
    assert len(terms) >= MIN_TERMS
    assert len(terms) == len(set(terms))


def test_every_name_of_the_glossary_is_in_the_code():
    words = set(re.findall(r"\w+", sources()))
    missing = {
        f"{row[0]}: {name}"
        for row in ROWS
        for quoted in re.findall(r"`([^`]+)`", row[2])
        for name in re.findall(r"[A-Za-z_]\w*", quoted)
        if name not in words
    }
    assert missing == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_has_its_four_cells(row):
    assert len(row) == 4
    assert row[1].endswith("."), "the meaning is a sentence"
