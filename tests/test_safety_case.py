"""The safety case names tests as its evidence: each must exist, and each protection must be in it."""

import re
from pathlib import Path

import pytest

from cabinet.model import Fault

ROOT = Path(__file__).parents[1]
CASE = (ROOT / "docs" / "safety-case.md").read_text(encoding="utf-8")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", CASE))))
def test_named_test_exists(name):
    assert name in TESTS


@pytest.mark.parametrize("fault", Fault)
def test_fault_has_its_place(fault):
    assert f"`{fault.value}`" in CASE


def test_every_row_of_a_hazard_or_a_part_names_its_evidence():
    tables = CASE[CASE.index("## Hazards") : CASE.index("## Choices")]
    rows = [
        line for line in tables.splitlines() if line.startswith("| ") and not line.startswith(("| hazard", "| part"))
    ]
    without = [row.split("|")[1].strip() for row in rows if "`test_" not in row.rsplit("|", 2)[1]]
    assert without == []
