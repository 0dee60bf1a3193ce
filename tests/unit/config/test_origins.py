"""Every value of a configuration is found on the line it stands on."""

import random
import tomllib
from importlib import resources
from typing import Any

import pytest

from cabinet.config.origins import origins


def leaves(tree: Any, path: str = "") -> set[str]:
    """Paths of everything that is not itself a table, as `check` writes them."""
    if isinstance(tree, dict):
        return {leaf for key, value in tree.items() for leaf in leaves(value, f"{path}.{key}" if path else key)}
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return {leaf for index, value in enumerate(tree, 1) for leaf in leaves(value, f"{path}[{index}]")}
    return {path}


@pytest.mark.parametrize("name", ["demo.toml", "cabinet.toml"])
def test_every_value_of_the_packaged_files_has_the_line_with_its_key(name):
    text = resources.files("cabinet.examples").joinpath(name).read_text(encoding="utf-8")
    found, lines = origins(text), text.splitlines()
    assert leaves(tomllib.loads(text)) <= set(found)
    for path in leaves(tomllib.loads(text)):
        assert path.rpartition(".")[2].partition("[")[0] in lines[found[path] - 1], path


CASES = {
    "plain": ("a = 1\nb = 2\n", {"a": 1, "b": 2}),
    "tables": ("[x]\na = 1\n[x.y]\na = 2\n", {"x.a": 2, "x.y.a": 4}),
    "repeated tables": ("[[o]]\na = 1\n[o.m]\nb = 2\n[[o]]\na = 3\n", {"o[1].a": 2, "o[1].m.b": 4, "o[2].a": 6}),
    "dotted key": ("x.y = 1\n", {"x.y": 1}),
    "inline table": ("m = { a = 1, b = 'x, y' }\n", {"m": 1, "m.a": 1, "m.b": 1}),
    "list over lines": ("l = [ # one\n 1,\n 2 ]\nb = 1\n", {"l": 1, "b": 4}),
    "list of tables": ("l = [{a = 1}, {a = 2}]\n", {"l": 1, "l[1].a": 1, "l[2].a": 1}),
    "text that looks like a key": ('a = """\nb = 1\n[c]\n"""\nd = 1\n', {"a": 1, "d": 5}),
    "comment that looks like a key": ("# a = 1\nb = 1 # c = 2\n", {"b": 2}),
    "bracket in a text": ('a = "[" # ]\nb = 1\n', {"a": 1, "b": 2}),
    "escaped quote": ('a = "\\"["\nb = 1\n', {"a": 1, "b": 2}),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_lines(text, expected):
    assert origins(text) == expected


@pytest.mark.parametrize("seed", range(20))
def test_file_that_was_broken_since_is_read_to_its_end(seed):
    chance = random.Random(seed)
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    for _ in range(20):
        first, last = sorted(chance.sample(range(len(text)), 2))
        broken = text[:first] + chance.choice('[]{}="\n#') + text[last:]
        assert all(line <= broken.count("\n") + 1 for line in origins(broken).values())
