"""What is done to the computer in an update: with programs that only pretend to be Debian's."""

from pathlib import Path

import pytest

from cabinet.errors import CabinetError
from cabinet.update import computer as module
from cabinet.update.computer import Computer

STATUS = """Package: cabinet
Status: install ok installed
Version: 0.1.0
Conffiles:
 /etc/cabinet/update-keys 0123
Description: a cabinet
"""


class Programs:
    """Scripts that stand for programs, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.called = folder / "called"

    def add(self, name: str, script: str = "") -> None:
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.called}\n{script}\n')
        program.chmod(0o755)

    def calls(self) -> list[str]:
        return self.called.read_text().splitlines() if self.called.exists() else []


@pytest.fixture
def programs(tmp_path, monkeypatch):
    found = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


@pytest.fixture
def computer(tmp_path, programs):
    return Computer(tmp_path / "cabinet.toml")


# --- packing what is installed ---------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, programs, monkeypatch):
    """A package of one program and one conffile, which the administrator has edited."""
    system, info, shipped = tmp_path / "system", tmp_path / "info", tmp_path / "as-shipped"
    keys = system / "etc/cabinet/update-keys"
    for path, text in (
        (system / "usr/bin/cabinet", "the program"),
        (keys, "# edited\nKEY maker"),
        (shipped / str(keys).lstrip("/"), "# as shipped"),
        (info / "cabinet.conffiles", f"{keys}\n"),
        (info / "cabinet.postinst", "#!/bin/sh"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listed = "\n".join(str(path) for path in [system, *sorted(system.rglob("*"))])
    programs.add("dpkg-query", f"case $1 in --listfiles) echo '{listed}' ;; *) echo '{STATUS}' ;; esac")
    programs.add("dpkg-deb")
    monkeypatch.setattr(module, "_INFO", info)
    monkeypatch.setattr(module, "_AS_SHIPPED", shipped)
    return keys


def packed(files: Path, path: Path) -> Path:
    return files / str(path).lstrip("/")


def test_package_to_go_back_to_has_settings_as_they_were_shipped(computer, installed, tmp_path):
    """Packed as edited, dpkg would take them for the maker's, and the next package's would replace them unasked."""
    files = tmp_path / "old"
    computer.pack_installed(files, tmp_path / "old.deb")
    assert packed(files, installed).read_text() == "# as shipped"
    assert installed.read_text() == "# edited\nKEY maker"
    assert packed(files, tmp_path / "system/usr/bin/cabinet").read_text() == "the program"
    assert "Conffiles" not in (files / "DEBIAN/control").read_text()
    assert (files / "DEBIAN/conffiles").exists()


def test_settings_that_were_taken_away_are_packed_too(computer, installed, tmp_path):
    """A conffile that is listed and not in the package is no package; dpkg leaves it away where it was."""
    installed.unlink()
    computer.pack_installed(tmp_path / "old", tmp_path / "old.deb")
    assert packed(tmp_path / "old", installed).read_text() == "# as shipped"


def test_without_the_shipped_settings_there_is_no_package_to_go_back_to(computer, installed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AS_SHIPPED", tmp_path / "nowhere")
    with pytest.raises(CabinetError, match="reinstall cabinet first"):
        computer.pack_installed(tmp_path / "old", tmp_path / "old.deb")
