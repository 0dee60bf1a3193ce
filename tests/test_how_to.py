"""The how-to pages, followed literally."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/add-a-protection.md"
SNIPPET = re.compile(
    r"^(?:`(?P<file>[^`]+)`:\n\n)?```(?:python|toml|text)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)

TRIP = """
import random
from cabinet.model import EventKind
from cabinet.texts import Texts
from campaigns.fault_harness import FaultHarness
from campaigns.fault_rows import ROWS
from cabinet_testing.sim_tolerances import SUITED

row, changes = ROWS["outlet_cold"]
harness = FaultHarness(random.Random(1), lambda text: None, changes, SUITED)
row(harness)
assert harness.problems == [], harness.problems
tripped = [event for event in harness.sim.seen if event.kind is EventKind.TRIPPED]
[(name, latched)] = {(event.fault.value, event.latched) for event in tripped}
print(name, latched)
for language in ("en", "zh"):
    print(Texts("common", language)(f"fault.{name}.name"))
harness.close()
"""
CHECK = "import sys; from cabinet.main import main; sys.exit(main(['check', *sys.argv[1:]]))"


def test_a_made_up_protection_is_one_file_one_line_two_texts_and_one_row(tmp_path):
    for folder in ("cabinet", "campaigns"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "static"))
    assert follow(PAGE.read_text(encoding="utf-8"), tmp_path) == [
        ("cabinet/protections/outlet_cold.py", "new file"),
        ("cabinet/model.py", 1),
        ("cabinet/texts/common.en.toml", 4),
        ("cabinet/texts/common.zh.toml", 4),
        ("campaigns/fault_rows.py", 8),  # the function
        ("campaigns/fault_rows.py", 1),  # its place in the table
    ]
    assert run(tmp_path, TRIP).splitlines() == ["outlet_cold False", "Outlet too cold", "插座温度过低"]
    example = run(tmp_path, CHECK, "--example")
    for name, trip_c, status in (("good.toml", "-5", 0), ("bad.toml", "5", 1)):
        text = example.replace("# trip_c = -10.0", f"trip_c = {trip_c}")
        (tmp_path / name).write_text(text, encoding="utf-8")
        said = run(tmp_path, CHECK, name, status=status)
        assert ("protections.outlet_cold.trip_c: 5 must be below 0" in said) == bool(status), said


def follow(page: str, copy: Path) -> list[tuple[str, int | str]]:
    """Apply the snippets of `page` to `copy`. Return each file with the number of lines that were added."""
    done: list[tuple[str, int | str]] = []
    name = ""
    for found in SNIPPET.finditer(page):
        name, snippet = found["file"] or name, found["text"]
        file = copy / name
        if not file.exists():
            file.write_text(snippet, encoding="utf-8")
            done.append((name, "new file"))
            continue
        text, first = file.read_text(encoding="utf-8"), snippet.partition("\n")[0] + "\n"
        assert text.count(first) <= 1, f"{name}: which {first!r}?"
        followed = text.replace(first, snippet) if first in text else f"{text}\n{snippet}"
        file.write_text(followed, encoding="utf-8")
        done.append((name, len([line for line in snippet.splitlines() if line]) - (first in text)))
    return done


def run(copy: Path, code: str, *arguments: str, status: int = 0) -> str:
    """Run `code` on the product in `copy`. Return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": f"{copy}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout or done.stderr
