"""Files, modules and symbols that documents and docstrings name exist."""

import ast
import fnmatch
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"\w+(?:\.\w+)+")
SYMBOL = re.compile(r"[A-Za-z_]\w*")

# Named without being there: files that a guide has its reader make, that are built, or that a decision removed.
ABSENT = {
    "bench/one_process.py": "removed by decision 82",
    "cabinet/console/commands/free.py": "made by add-a-console-command.md",
    "cabinet/protections/outlet_cold.py": "made by add-a-protection.md",
    "cabinet/store/migrations/NNNN_name.sql": "stands for any migration",
    "cabinet/web/static/dist/": "built by make",
}
NO_MODULES = {"guard.sock", "service.sock", "uplink.sock", "service.port"}  # sockets, a key of the configuration
NO_SYMBOLS = {
    *("_", "xx", "zh", "NNNN", "outlet_cold", "trip_c"),  # placeholders, languages, made-up names
    *("limits", "sensors", "stickers"),  # commands of the console, a file of texts
}


@functools.cache
def tracked() -> tuple[str, ...]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the source is unknown")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in done.stdout.splitlines() if (ROOT / name).is_file())


@functools.cache
def path_pattern() -> re.Pattern[str]:
    """Return the pattern of a path in the repository: a Python file, or anything below one of its folders."""
    folders = "|".join(re.escape(name) for name in sorted({name.split("/")[0] for name in tracked() if "/" in name}))
    return re.compile(rf"(?<![\w/.<-])(?:[\w.-]+/)*[\w*.-]+\.py\b|(?<![\w/.<{{-])(?:{folders})/[\w./*-]*")


@functools.cache
def matching(path: str) -> tuple[str, ...]:
    """Return the tracked files that `path` means, which may be the end of a path, a folder or a pattern."""
    path = path.rstrip("/.")
    wanted = (path, f"*/{path}", f"{path}/*", f"*/{path}/*")
    return tuple(name for name in tracked() if any(fnmatch.fnmatchcase(name, each) for each in wanted))


def paths_in(text: str) -> Iterator[str]:
    for span in SPAN.findall(text):
        yield from path_pattern().findall(span)


@functools.cache
def prose(name: str) -> str:
    """Return the docstrings and comments of a Python file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, owners)]
    return "\n".join([*found, *re.findall(r"#.*", text)])


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python_files() -> list[str]:
    return [name for name in tracked() if name.endswith(".py")]


def test_every_path_in_documents_docstrings_and_comments_exists():
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages()}
    texts |= {name: prose(name) for name in python_files()}
    named = {(name, path) for name, text in texts.items() for path in paths_in(text)}
    assert len(named) > 100
    assert {f"{name}: {path}" for name, path in named if not matching(path) and path not in ABSENT} == set()
    assert {path for path in ABSENT if matching(path)} == set(), "exists again"
    assert ABSENT.keys() - {path for _, path in named} == set(), "named no more"


def test_every_module_in_docstrings_and_comments_exists():
    missing = {
        f"{name}: {span}"
        for name in python_files()
        for span in SPAN.findall(prose(name))
        if MODULE.fullmatch(span) and span not in NO_MODULES and not _module_exists(span.removeprefix("cabinet."))
    }
    assert missing == set()


def _module_exists(dotted: str) -> bool:
    """Return whether `dotted` is a module below cabinet/ or a name in one; names that begin with no folder pass."""
    parts = dotted.split(".")
    if not (ROOT / "cabinet" / parts[0]).is_dir():
        return True
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath("cabinet", *parts[:count])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.exists():
            return count == len(parts) or re.search(rf"\b{parts[count]}\b", file.read_text("utf-8")) is not None
    return False


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_every_symbol_of_a_guide_is_in_the_files_of_its_line(page):
    """If the line names no file, anywhere in the source. A paragraph counts as one line."""
    missing = set()
    for line in _lines(FENCE.sub("", page.read_text(encoding="utf-8"))):
        files = {file for path in paths_in(line) for file in matching(path)} - {f"docs/how-to/{page.name}"}
        for symbol in SPAN.findall(line):
            if SYMBOL.fullmatch(symbol) and symbol not in NO_SYMBOLS and symbol not in _words(frozenset(files)):
                missing.add(f"{symbol} in {', '.join(sorted(files))[:200] or 'any file'}")
    assert missing == set()


def _lines(text: str) -> list[str]:
    """Return the rows of tables, and paragraphs as one line each."""
    return re.split(r"\n(?=\|)|\n\n|\n(?=- )", text)


@functools.cache
def _words(files: frozenset[str]) -> frozenset[str]:
    kinds = (".py", ".toml", ".html", ".sql", ".css", "Makefile", ".cfg")
    used = files or {name for name in tracked() if name.endswith(kinds)}
    texts = ((ROOT / name).read_text(encoding="utf-8") for name in used if name.endswith(kinds))
    return frozenset(word for text in texts for word in SYMBOL.findall(text))


def test_guides_give_no_line_numbers():
    numbers = [
        f"{page.name}: {found}"
        for page in HOW_TO
        for found in re.findall(r"`[\w./]+\.\w+` \(?\d+|\blines? \d+|\| \d+[–,]? ?\d* \|", page.read_text("utf-8"))
    ]
    assert numbers == []
