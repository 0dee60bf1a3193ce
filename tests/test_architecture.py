"""Rules about the whole source that no single part could test: imports, declarations, wording."""

import ast
import functools
import graphlib
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path

import pytest

import cabinet
from cabinet.main import COMMANDS, EPILOG, main

ROOT = Path(__file__).parents[1]
MAX_FILE = 450  # lines; a file beyond is two files

# The guard must start fast, stay small, and fail only for its own reasons: a module that is not loaded delays nothing.
NOT_IN_THE_GUARD = (
    "asyncio", "jinja2", "litestar", "multiprocessing", "sqlite3", "uvicorn",
    "cabinet.billing", "cabinet.console", "cabinet.demo", "cabinet.reports", "cabinet.service",
    "cabinet.store", "cabinet.system.steward", "cabinet.system.update", "cabinet.texts", "cabinet.trips.plot",
    "cabinet.trips.table", "cabinet.web",
)  # fmt: skip
# These decide from values alone: no clock, no input or output, so every case can be tested at once.
PURE = (
    "cabinet.billing.session", "cabinet.billing.tariff", "cabinet.charge", "cabinet.metering", "cabinet.protections",
    "cabinet.safety", "cabinet.trips.format",
)  # fmt: skip
WORDS = ("cabinet.errors", "cabinet.model", "cabinet.sections")
WAITS = ("asyncio", "select", "selectors", "socket", "sqlite3", "subprocess", "threading", "time")
# What serves residents and staff reaches the machine through the link, in another process.
MACHINE = (
    "cabinet.charge", "cabinet.guard", "cabinet.hardware", "cabinet.metering", "cabinet.relays", "cabinet.safety",
)  # fmt: skip
PROTECTION_TABLE = "cabinet.protections.table"  # imports every file of its folder, by name
PEOPLE = (
    "cabinet.billing", "cabinet.console", "cabinet.reports", "cabinet.service", "cabinet.store",
    "cabinet.system.update", "cabinet.trips", "cabinet.web",
)  # fmt: skip
PORTS = ("cabinet.service.ports", "cabinet.service.property_ports", "cabinet.service.property_views")


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


# --- imports ---------------------------------------------------------------------------------------------------------


@functools.cache
def import_graph() -> dict[str, frozenset[str]]:
    """Return for each module of cabinet/ the modules of cabinet/ and the top-level packages that it imports.

    Read from the source: imports inside functions count, and those for the type checker only.
    """
    files = {_module_of(file): file for file in (ROOT / "cabinet").rglob("*.py")}
    graph = {module: frozenset(_imported(module, file, files.keys())) for module, file in files.items()}
    found = {module for module in files if module.startswith("cabinet.protections.")} - {PROTECTION_TABLE}
    return graph | {PROTECTION_TABLE: graph[PROTECTION_TABLE] | found}


def _module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(module: str, file: Path, modules: Collection[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{module}: imports by full names only"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package = name.partition(".")[0]
            while package == "cabinet" and name not in modules:  # an attribute: its module is meant
                name = name.rpartition(".")[0]
            target = name if package == "cabinet" else package
            if target != module:
                yield target


def reached_from(module: str) -> set[str]:
    """Return every module and package that `module` imports, directly or through others of cabinet/."""
    graph, found, left = import_graph(), set[str](), [module]
    while left:
        new = graph.get(left.pop(), frozenset()) - found
        found |= new
        left += new
    return found


def circle(graph: Mapping[str, Iterable[str]]) -> str:
    """Return one import circle, as in "a imports b imports a"; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


def test_no_files_import_each_other_in_a_circle():
    assert circle(import_graph()) == ""


def test_no_rooms_import_each_other_in_a_circle():
    """A room is a folder directly in cabinet/, with everything in it, or a file there."""
    rooms: dict[str, set[str]] = {}
    for module, imported in import_graph().items():
        others = {_room(target) for target in imported if in_any(target, ("cabinet",))} - {_room(module)}
        rooms.setdefault(_room(module), set()).update(others)
    assert circle(rooms) == ""


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_no_test_imports_another():
    """Shared parts are in `cabinet_testing/`, so that a test can be changed or removed without a look at the others."""
    importing = re.compile(r"^\s*(?:from|import) +(?:tests\b|\.)", re.MULTILINE)
    files = [
        file
        for folder in ("tests", "cabinet_testing", "campaigns", "bench", "vm")
        for file in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 300
    assert [str(file.relative_to(ROOT)) for file in files if importing.search(file.read_text(encoding="utf-8"))] == []


def test_parts_named_in_these_rules_exist():
    named = {*NOT_IN_THE_GUARD, *PURE, *WORDS, *MACHINE, *PEOPLE, *PORTS}
    assert {name for name in named if in_any(name, ("cabinet",))} - import_graph().keys() == set()


def test_pure_cores_know_only_the_model_and_errors_and_wait_for_nothing():
    known = [
        f"{module} knows {target}"
        for module in sorted(import_graph())
        if in_any(module, PURE)
        for target in sorted(reached_from(module))
        if in_any(target, WAITS) or (in_any(target, ("cabinet",)) and not in_any(target, (*PURE, *WORDS)))
    ]
    assert known == []


@pytest.mark.parametrize(
    ("parts", "never"),
    [
        (("cabinet.guard", "cabinet.link.server"), (*NOT_IN_THE_GUARD, "cabinet.sim")),
        (PEOPLE, (*MACHINE, "cabinet.link.server", "cabinet.sim")),
    ],
    ids=["guard and people", "people and machine"],
)
def test_parts_that_must_not_know_each_other(parts, never):
    """Imports through other modules count too. The order of all parts is in `setup.cfg`; it cannot express this."""
    known = [
        f"{module} knows {target}"
        for module in sorted(import_graph())
        if in_any(module, parts)
        for target in sorted(reached_from(module))
        if in_any(target, never)
    ]
    assert known == []


def test_people_know_sections_and_facts_of_the_protections_but_run_none():
    direct = {
        target
        for module, imported in import_graph().items()
        if in_any(module, PEOPLE)
        for target in imported
        if in_any(target, ("cabinet.protections",))
    }
    assert direct == {PROTECTION_TABLE}


def test_web_and_console_use_the_service_through_its_ports_only():
    direct = [
        f"{module} imports {target}"
        for module, imported in sorted(import_graph().items())
        if in_any(module, ("cabinet.console", "cabinet.web"))
        for target in sorted(imported)
        if in_any(target, ("cabinet.service", "cabinet.store")) and target not in PORTS
    ]
    assert direct == []


@pytest.mark.parametrize(
    ("folders", "never"),
    [
        (("cabinet",), ("cabinet_testing", "bench", "campaigns", "tests", "vm")),
        (("cabinet_testing",), ("bench", "campaigns", "tests", "vm")),
        (("bench", "campaigns", "vm"), ("tests",)),
    ],
    ids=["product", "harnesses", "users of harnesses"],
)
def test_product_imports_no_harness_and_harnesses_import_no_test(folders, never):
    """tests/ may change freely: what others need of it is in cabinet_testing/, which is in no package."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    assert files != []
    direct = {
        f"{file.relative_to(ROOT)} imports {target}"
        for file in files
        for target in _imported(_module_of(file), file, import_graph().keys())
        if in_any(target, never)
    }
    assert direct == set()


# --- what is loaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["guard", "failsafe"])
def test_guard_and_failsafe_load_no_web_database_or_billing_code(command):
    """The simulator's wire is opened too: it replaces the hardware in the guard's own process."""
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
    assert [name for name in loaded if in_any(name, NOT_IN_THE_GUARD)] == []
    assert not {"cabinet.sim.world", "cabinet.sim.build", "cabinet.sim.server"} & set(loaded)


def in_any(module: str, names: tuple[str, ...]) -> bool:
    """Return whether `module` is one of `names`, or inside one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


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
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "options", "hardware", "measure", "playground"}
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
    """Return place and command of every example in the documents and in the commands' own help."""
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
    """Return the first command of a shell line: `$(…)` is one word; the text after `>`, `;` or `&&` is left out."""
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


def test_docstrings_begin_with_a_verb_or_a_noun():
    """A first word such as "What" or "Of" makes a docstring a riddle: the subject is missing."""
    no_subject = re.compile(
        r"(?:As|At|Between|But|By|For|From|How|Not|Of|So|Somebody|That|To|Until|Wh(?:at|atever|en|ere|ether|ich|ile|o"
        r"|oever|ose))\b(?!-)"
    )
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{file.relative_to(ROOT)}:{node.body[0].lineno}: {text.splitlines()[0]}"
        for file in tracked(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, owners) and no_subject.match(text := ast.get_docstring(node) or "")
    ]
    assert found == []


def test_no_package_registry_is_named():
    """The source of packages is the machine's own setting (pip, npm): a cabinet may be behind a mirror."""
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
