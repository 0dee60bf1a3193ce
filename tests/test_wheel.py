"""The wheel: everything that the product needs at run time is in it, and it works where the source is not."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import bundle

ROOT = Path(__file__).parents[1]
BUNDLE = "cabinet/web/static/dist"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is in the repository, with the scripts bundled: building leaves things behind."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the source is unknown")
    if not bundle.is_current():
        pytest.skip("the pages' scripts are not bundled (python tools/bundle.py says why), so no wheel can be built")
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / BUNDLE, folder / BUNDLE, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """Built without looking for anything on a network: what building needs is among the test tools."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, f"--wheel-dir={folder}", str(source)], check=True, timeout=300)
    (built,) = folder.glob("cabinet-*.whl")
    return built


def test_wheel_holds_every_file_of_both_packages_and_nothing_else(source, wheel):
    files = [path for package in ("cabinet", "fleet") for path in (source / package).rglob("*")]
    needed = {str(path.relative_to(source)) for path in files if path.is_file()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    build_only = {f"{BUNDLE}/{bundle.FINGERPRINT}"}
    assert held == {name for name in needed - build_only if "__pycache__" not in name}


def test_wheel_works_where_the_source_is_not(wheel, tmp_path):
    """The wheel is only unpacked: the dependencies are those of this environment."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cabinet.main; sys.exit(cabinet.main.main())"

    def cabinet(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    assert cabinet("--help").startswith("usage: cabinet")
    config = tmp_path / "cabinet.toml"
    config.write_text(cabinet("check", "--example").replace("[paths]\n", f'[paths]\nstate = "{tmp_path / "state"}"\n'))
    assert cabinet("check", str(config)).startswith("OK: ")
    assert re.search(r"PIN \d{6}", cabinet("resident", "add", "10023344", "--config", str(config)))
    assert cabinet("usage", "verify", "--config", str(config))
