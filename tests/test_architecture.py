"""Rules about the whole source that no single part could test: what is loaded, what is declared, what is said."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

import cabinet
from cabinet.main import COMMANDS, EPILOG, main

ROOT = Path(__file__).parents[1]
MAX_FILE = 450  # lines; a file beyond is two files

# What the guard must never load: it has to start fast, stay small, and be able to fail for its own reasons only.
NOT_IN_THE_GUARD = (
    "asyncio", "jinja2", "litestar", "multiprocessing", "sqlite3", "uvicorn",
    "cabinet.billing", "cabinet.console", "cabinet.demo", "cabinet.service", "cabinet.store", "cabinet.texts",
    "cabinet.web",
)  # fmt: skip


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked(*suffixes: str) -> list[Path]:
    """Files of the repository with one of `suffixes`; all without any."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the source is unknown")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in files if file.is_file() and (not suffixes or file.suffix in suffixes)]


# --- what is loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["guard", "failsafe"])
def test_guard_and_failsafe_load_no_web_database_or_billing_code(command):
    """With the simulator's wire opened too: it stands in for the hardware in the guard's own process."""
    code = f"""
import sys
from pathlib import Path
from cabinet.config import load
from cabinet.commands import {command}
from cabinet.commands.hardware import openers
openers(load(Path("cabinet/examples/demo.toml")))
print(*sys.modules)
"""
    os.chdir(ROOT)
    loaded = python(code).split()
    assert "cabinet.sim.wire" in loaded
    forbidden = [name for name in loaded if name.startswith(NOT_IN_THE_GUARD) and _is_or_is_in(name)]
    assert forbidden == []
    assert not {"cabinet.sim.world", "cabinet.sim.build", "cabinet.sim.server"} & set(loaded)


def _is_or_is_in(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in NOT_IN_THE_GUARD)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_no_other_command_of_its_kind(command):
    loaded = python(f"import sys, cabinet.commands.{command}; print(*sys.modules)").split()
    others = {f"cabinet.commands.{other}" for other in COMMANDS} - {f"cabinet.commands.{command}"}
    assert others & set(loaded) == set()


def test_failsafe_loads_nothing_of_the_guard():
    """It opens everything beside a guard that hangs, and has 0.3 s for it: every import counts."""
    loaded = python("import sys, cabinet.commands.failsafe; print(*sys.modules)").split()
    assert [name for name in loaded if name.startswith(("cabinet.guard", "cabinet.safety", "cabinet.link"))] == []


# --- what is declared ------------------------------------------------------------------------------------------------


def test_every_command_has_its_module_and_every_module_its_command():
    folder = Path(cabinet.__file__).parent / "commands"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "options", "hardware", "playground"}
    assert modules == set(COMMANDS)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=["cabinet", *COMMANDS])
def test_help_works(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {' '.join(['cabinet', *words])}")


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"cabinet {cabinet.__version__}\n"
    assert f"## {cabinet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_runtime_dependency_is_imported_somewhere():
    """None is installed for nothing. Pin factories are loaded by gpiozero, by the name in the configuration."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    modules = {
        "pyserial": "serial",
        "argon2-cffi": "argon2",
        "PyNaCl": "nacl",
        "XlsxWriter": "xlsxwriter",
        "fonttools": "fontTools",
    }
    by_name = {"lgpio", "RPi.GPIO"}
    named = {re.split(r"[<>=;\[ ]", line)[0] for line in setup["options"]["install_requires"].split("\n") if line}
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "cabinet").rglob("*.py"))
    unused = [
        name
        for name in sorted(named - by_name)
        if not re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", source, re.MULTILINE)
    ]
    assert unused == []


def test_every_dependency_has_an_upper_bound():
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    lines = [line for text in lists for line in text.split("\n") if line] + build
    assert [line for line in lines if "<" not in line.split(";")[0] and "==" not in line] == []


# --- examples --------------------------------------------------------------------------------------------------------

_BEFORE = r"(?:\$ )?(?:sudo (?:-u \S+ )?)?(?:CABINET_CONFIG=\S+ )?(?:\.venv/bin/)?"
_EXAMPLE = re.compile(rf"^\s*{_BEFORE}cabinet (.+)$")


def examples(text: str) -> list[str]:
    """Commands in `text`: lines that begin with `cabinet`, up to a comment or the column of an explanation."""
    found = (_EXAMPLE.match(line) for line in text.splitlines())
    return [re.split(r"\s{2,}|\s#", match[1])[0] for match in found if match is not None]


def documents() -> list[tuple[str, str]]:
    """Where, and the command, of every example in the documents and in the commands' own help."""
    texts = {path.name: _fenced(path.read_text(encoding="utf-8")) for path in _pages()}
    texts |= {"cabinet --help": EPILOG}
    return [(where, example) for where, text in texts.items() for example in examples(text)]


def _pages() -> list[Path]:
    return [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))) if path.exists()]


def _fenced(text: str) -> str:
    return "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("where", "example"), documents())
def test_example_in_the_documents_is_a_command_that_parses(where, example, monkeypatch):
    words = shlex.split(_without_shell(example))
    module = importlib.import_module(f"cabinet.commands.{words[0]}")
    monkeypatch.setattr(module, "main", lambda args: 0)
    try:
        assert main(words) == 0
    except SystemExit as error:
        raise AssertionError(f"{where}: cabinet {example}") from error


def _without_shell(example: str) -> str:
    """Of a line for a shell its first command: `$(…)` is one word, what follows `>`, `;` or `&&` is none of it."""
    example = re.sub(r"\$\([^)]*\)", "substituted", example)
    return re.split(r"\s>|;|&&", example)[0]


def test_there_are_examples_to_check():
    assert {where for where, _ in documents()} >= {"README.md", "cabinet --help"}


def test_links_of_the_documents_lead_somewhere():
    broken = [
        f"{page.name}: {target}"
        for page in _pages()
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


# --- what is said ----------------------------------------------------------------------------------------------------


def test_nothing_is_left_to_do_later():
    pattern = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
    left = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in tracked(".py", ".js", ".html", ".css", ".md", ".toml", ".cfg", ".sql")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert left == []


def test_no_package_registry_is_named():
    """Where packages come from is the machine's own setting (pip, npm): a cabinet may stand behind a mirror."""
    hosts = [
        ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
    ]
    named = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in tracked()
        if b"\0" not in (content := file.read_bytes())
        for host in hosts
        if host.encode() in content
    ]
    assert named == []


def test_no_source_file_is_too_long_to_read():
    long = {
        str(file.relative_to(ROOT)): count
        for file in tracked(".py")
        if file.is_relative_to(ROOT / "cabinet")
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > MAX_FILE
    }
    assert long == {}


def test_only_the_clock_reads_the_wall_clock():
    """Lint bans the usual calls; this is for the rest of `time` and for lines that silence the lint."""
    reads = re.compile(r"\btime\.(?:localtime|gmtime|ctime|clock_gettime)\b|CLOCK_REALTIME|noqa: TID251")
    found = [
        str(file.relative_to(ROOT))
        for file in tracked(".py")
        if file.is_relative_to(ROOT / "cabinet") and reads.search(file.read_text(encoding="utf-8"))
    ]
    assert [name for name in found if name != "cabinet/clock.py"] == []
