"""The Python packages of the Debian package: their locked versions, one folder for every Python, what is left out."""

import contextlib
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tools import deb_packages, lock, wheel_report

ROOT = Path(__file__).parents[1]


# --- locked versions --------------------------------------------------------------------------------------------------


def locked() -> dict[str, str]:
    return lock.locked(lock.LOCKED.read_text())


def test_every_dependency_is_locked_within_its_range():
    from packaging.requirements import Requirement

    versions = locked()
    for line in lock.wanted(lock.setup_cfg()):
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(versions[name]), f"{line}, locked is {versions[name]}: tools/lock.py"


def test_every_locked_version_has_hashes():
    entries = re.split(r"^(?=\S)", lock.LOCKED.read_text(), flags=re.MULTILINE)
    without = [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry]
    assert without == []


def test_only_what_cannot_be_had_is_left_out():
    assert lock.wanted(["a>=1,<2", 'lgpio>=0.2; platform_machine in "aarch64"', 'RPi.GPIO>=0.7; platform == "x"']) == [
        "a>=1,<2",
        "lgpio>=0.2",
    ]


# --- wheels -----------------------------------------------------------------------------------------------------------


def wheel(name: str) -> wheel_report.Wheel:
    return wheel_report.Wheel.parse(name)


def test_wheel_report_tells_pure_from_compiled_and_names_what_is_missing():
    pure, compiled = wheel("a-1.0-py3-none-any.whl"), wheel("Be_e-2.0-cp311-cp311-manylinux_2_28_aarch64.whl")
    found = {
        ("arm64", "3.11"): {"a": pure, "be-e": compiled}, ("amd64", "3.11"): {"a": pure, "be-e": compiled},
        ("arm64", "3.13"): {"a": pure, "be-e": compiled}, ("amd64", "3.13"): {"a": pure},
    }  # fmt: skip
    text, missing = wheel_report.page({"a": "1.0", "be-e": "2.0", "lgpio": "1"}, found)
    assert "| a | 1.0 | pure | pure |" in text
    assert "| be-e | 2.0 | manylinux_2_28_aarch64 | manylinux_2_28_aarch64, **none** for 3.13 |" in text
    assert "| lgpio | 1 | compiled | compiled |" in text
    assert missing == ["be-e (amd64, Python 3.13)"]


def test_report_of_the_wheels_is_of_the_locked_versions_and_none_is_missing():
    report = wheel_report.REPORT.read_text()
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([0-9]\S*) \|", report, re.MULTILINE))
    assert rows == locked(), "python tools/wheel_report.py"
    assert "**none**" not in report


# --- the packages of every Python -------------------------------------------------------------------------------------


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_wheels_of_every_python_lie_in_one_folder(tmp_path):
    for tag in ("311", "313"):
        files = {"a/__init__.py": "same", f"a/_core.cpython-{tag}-x.so": tag, "a-1.dist-info/WHEEL": tag}
        deb_packages.merge(write(tmp_path / tag, files), tmp_path / "packages")
    found = {path.name: path.read_text() for path in (tmp_path / "packages/a").iterdir()}
    assert found == {"__init__.py": "same", "_core.cpython-311-x.so": "311", "_core.cpython-313-x.so": "313"}


def test_source_that_differs_between_pythons_is_not_built(tmp_path):
    """One of them would get the other's."""
    deb_packages.merge(write(tmp_path / "0", {"a.py": "print(1)"}), tmp_path / "packages")
    with pytest.raises(deb_packages.CannotBuild, match=r"a\.py: differs"):
        deb_packages.merge(write(tmp_path / "1", {"a.py": "print(2)"}), tmp_path / "packages")


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """The locked packages of this environment, without those that packaging/left-out.txt takes away."""
    folder = tmp_path_factory.mktemp("carried") / "packages"
    for name in locked():
        with contextlib.suppress(PackageNotFoundError):  # lgpio is only on a Pi
            for file in distribution(name).files or []:
                source = Path(str(file.locate()))
                if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, folder / file)
    deb_packages.leave_out(folder)
    return folder


def alone(carried: Path, code: str) -> str:
    """Run it with the product and the packages that are carried, and no other."""
    paths = f"import sys; sys.path += {[str(ROOT), str(carried)]!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", paths + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_every_module_imports_with_the_packages_that_are_carried(carried):
    code = (
        "import importlib, pkgutil, cabinet\n"
        "names = [found.name for found in pkgutil.walk_packages(cabinet.__path__, 'cabinet.')]\n"
        "print(len([importlib.import_module(name) for name in names]))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    count, names = alone(carried, code).splitlines()
    assert int(count) > 300
    assert not {"faker", "rich", "setuptools", "httpx"} & set(names.split())


@pytest.mark.slow
def test_font_is_read_with_the_packages_that_are_carried(carried):
    """fontTools imports what it needs by the tables of a font."""
    fonts = [path for folder in ("truetype", "opentype") for path in Path("/usr/share/fonts", folder).rglob("*.tt[fc]")]
    if not fonts:
        pytest.skip("this machine has no fonts")
    kinds = list({path.suffix: str(path) for path in fonts}.values())
    code = (
        "from pathlib import Path\n"
        "from cabinet.stickers import font\n"
        f"for path in map(Path, {kinds!r}):\n"
        "    print(len(font.find('A', path).glyph('A').steps))"
    )
    assert len(alone(carried, code).split()) == len(kinds)
