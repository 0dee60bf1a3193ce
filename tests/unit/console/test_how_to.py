"""docs/how-to/add-a-console-command.md, taken literally: one file, one line and its texts are a command."""

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cabinet import console
from cabinet.console import registry
from cabinet.console.command import DECLARED
from cabinet.texts import LANGUAGES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "add-a-console-command.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"^(?:New file|In) `(?P<file>cabinet/\S+)`(?:, (?:below the line `(?P<below>[^`]+)`|at the end)[^:]*)?:\n\n"
    r"```\w+\n(?P<text>.*?)```$",
    re.MULTILINE | re.DOTALL,
)
TYPE_IT = """
import sys, msgspec
from pathlib import Path
import argon2
import cabinet
from importlib import resources
from types import SimpleNamespace
from cabinet.clock import ManualClock
from cabinet.config import parse
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.console.completion import complete
from cabinet.console import registry
from cabinet.console.shell import Shell
from cabinet.model import Phase

config = parse(resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8"), "demo.toml")
outlets = [SimpleNamespace(outlet=n, phase=Phase.CHARGING if n == 3 else Phase.IDLE) for n in range(1, 6)]
guard = SimpleNamespace(snapshot=lambda: SimpleNamespace(outlets=outlets))
folder, language = Path(sys.argv[1]), sys.argv[2]
assert Path(cabinet.__file__).is_relative_to(folder), cabinet.__file__
staff = ConsoleAccounts(folder / "staff.json", ManualClock(), argon2.PasswordHasher(1, 8, 1))
staff.set_pin("tech", Level.LOOK, "123456")
staff.remember("tech", language=language)
shell = Shell(config, staff, guard, ManualClock())
shell.line("tech")
shell.line("123456")
said = {line: shell.line(line).text for line in ("free", "free --json", "help", "help free", "limits")}
said["completed"] = complete("fre", registry.allowed(Level.LOOK), config)
print(msgspec.json.encode(said).decode())
"""


def take_the_steps(folder: Path) -> list[str]:
    """Apply the page to a copy of the product in `folder`. Return the files that were there before."""
    shutil.copytree(ROOT / "cabinet", folder / "cabinet", ignore=shutil.ignore_patterns("__pycache__", "static"))
    changed = []
    for step in STEP.finditer(PAGE):
        path = folder / step["file"]
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        changed += [step["file"]] if before else []
        if step["below"]:
            found = re.search(rf"^ *{re.escape(step['below'])}\n", before, re.MULTILINE)
            assert found is not None, step["below"]
            path.write_text(before[: found.end()] + step["text"] + before[found.end() :], encoding="utf-8")
        else:
            path.write_text(before + step["text"], encoding="utf-8")
    return changed


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    changed = take_the_steps(folder)
    assert [file for file in changed if file.endswith(".py")] == ["cabinet/console/registry.py"], "one line"
    assert len(changed) == 1 + 2 * len(LANGUAGES)
    return folder


@pytest.mark.parametrize(
    ("language", "says", "helps"),
    [("en", "free: 1, 2, 4, 5", "outlets without a charge"), ("zh", "空闲：1, 2, 4, 5", "没有充电的插座")],
)
def test_the_steps_of_the_page_make_a_command(copy, language, says, helps):
    done = subprocess.run(
        [sys.executable, "-c", TYPE_IT, copy, language],
        env={**os.environ, "PYTHONPATH": str(copy)}, cwd=copy, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = msgspec.json.decode(done.stdout)
    assert said["free"] == says
    assert msgspec.json.decode(said["free --json"])["data"] == [1, 2, 4, 5]
    assert helps in said["help"]
    assert helps in said["help free"]
    assert said["completed"] == ["free"]
    assert "max_power_w" in said["limits"], "the others are still there"


def test_every_declared_command_is_in_a_topic():
    for module in pkgutil.walk_packages(console.__path__, "cabinet.console."):
        importlib.import_module(module.name)
    assert sorted(DECLARED) == sorted(registry.COMMANDS)
