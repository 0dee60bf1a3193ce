"""The Debian package: what goes into it, and what its scripts do, without building it (`make test-vm` installs it)."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from cabinet.system.update import computer
from tools import build_deb, deb_packages, make_bundle

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"


# --- what is in the package -------------------------------------------------------------------------------------------


def test_every_unit_and_setting_is_in_the_package():
    placed = {path for pattern in build_deb.FILES for path in ROOT.glob(pattern)}
    assert {path for path in (ROOT / "systemd").iterdir() if path.is_file()} <= placed


def test_conffiles_are_files_of_the_package():
    assert {f"/{target}" for target in build_deb.FILES.values() if target.startswith("etc/")} == set(
        build_deb.CONFFILES
    )


def test_conffiles_are_there_as_shipped_once_more(tmp_path, monkeypatch):
    """Going back from an update packs these: the administrator's, packed as shipped, would count as unedited."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780000000")
    build_deb.lay_out_files(tmp_path, "1.2.3")
    assert str(computer._AS_SHIPPED).lstrip("/") == build_deb.AS_SHIPPED
    for name in build_deb.CONFFILES:
        copy = tmp_path / build_deb.AS_SHIPPED / name.lstrip("/")
        assert copy.read_bytes() == (tmp_path / name.lstrip("/")).read_bytes()


def test_configuration_is_no_part_of_the_package():
    """A cabinet that was never configured must not start as somebody else's."""
    assert not [target for target in build_deb.FILES.values() if target.startswith("etc/") and "cabinet.toml" in target]


def test_manual_page_names_every_command():
    from cabinet.main import COMMANDS

    page = build_deb.manual_page("1.2.3")
    assert [name for name in COMMANDS if f".B {name}\n" not in page] == []


def test_control_file_says_which_python_and_system():
    fields = {"version": "1", "architecture": "arm64", "installed_kib": 1, "pythons": "python3 (>= 3.11~)"}
    control = (PACKAGING / "control.in").read_text().format(**fields)
    assert "Depends: python3 (>= 3.11~), libc6 (>= 2.36)" in control
    assert "openssl" in control.split("Depends: ")[1].splitlines()[0].split(", "), "keys of the uplink are made by it"
    assert set(deb_packages.PLATFORMS) == {"amd64", "arm64"}


@pytest.mark.parametrize(
    ("pythons", "depends"),
    [
        (["3.11"], "python3 (>= 3.11~), python3 (<< 3.12~)"),
        (["3.11", "3.13"], "python3 (>= 3.11~), python3 (<< 3.12~) | python3 (>= 3.13~), python3 (<< 3.14~)"),
    ],
)
def test_dependency_lets_in_each_python_that_has_compiled_parts_and_no_other(pythons, depends):
    assert build_deb.python_dependency(pythons) == depends
    assert make_bundle.pythons_in(depends) == pythons  # as a bundle of it says


def test_cabinets_package_carries_nothing_of_the_fleet():
    """The wheel holds both; a cabinet has neither the authority's code nor its libraries."""
    assert "fleet" in deb_packages.LEFT_OUT.read_text().splitlines()
    locked = (PACKAGING / "locked.txt").read_text()
    assert not [name for name in ("cryptography", "psycopg") if f"\n{name}" in locked]


# --- what its scripts do ----------------------------------------------------------------------------------------------


@pytest.fixture
def before_unpacking(tmp_path):
    """Runs preinst on a system with this Python as python3, or none; returns what it printed, "" where it agrees."""

    def run(python: str | None) -> str:
        link = tmp_path / "python3"
        if python is not None:
            link.symlink_to(python)
        script = (PACKAGING / "preinst").read_text().replace("/usr/bin/python3", str(link))
        done = subprocess.run(["sh", "-c", script, "preinst", "install"], capture_output=True, text=True, check=False)
        assert (done.returncode != 0, done.stdout) == (bool(done.stderr), "")
        return done.stderr

    return run


@pytest.mark.parametrize("python", [*deb_packages.PYTHONS, None])
def test_each_release_that_the_package_is_for_may_install_it(before_unpacking, python):
    """None: an installation from nothing unpacks Python in the same run."""
    assert before_unpacking(python and f"python{python}") == ""


@pytest.mark.parametrize("python", ["3.9", "3.12", "3.14", "3.1"])
def test_any_other_release_is_refused_with_one_line(before_unpacking, python):
    line = before_unpacking(f"python{python}")
    assert line.count("\n") == 1
    assert "Bookworm and Trixie" in line
    assert line.endswith(f"this system has Python {python}\n")
    assert all(known in line for known in deb_packages.PYTHONS)


@pytest.mark.parametrize("name", build_deb.SCRIPTS)
def test_script_is_good_shell(name):
    assert subprocess.run(["sh", "-n", PACKAGING / name], check=False).returncode == 0


@pytest.fixture
def purged(tmp_path):
    """Runs `postrm purge` on a state folder below tmp_path, its paths moved there; returns what is left."""

    def purge(mounts: bool = False, **environment: str) -> set[str]:
        state = tmp_path / "var/lib/cabinet"
        for name in ("cabinet.db", "cabinet.db-wal", "console-staff.json", "latches.json", "keys/usage.key",
                     "backups/cabinet-000001.db", "trips/1.trip", "uplink/identity.pem", "update/old.deb",
                     "everything-off", *(["lost+found/#12"] if mounts else [])):  # fmt: skip
            (state / name).parent.mkdir(parents=True, exist_ok=True)
            (state / name).touch()
        (tmp_path / "etc/cabinet").mkdir(parents=True)
        (tmp_path / "etc/cabinet/cabinet.toml").touch()
        tools = tmp_path / "tools"
        tools.mkdir()
        for tool in ("deb-systemd-helper", "systemctl"):
            (tools / tool).write_text("#!/bin/sh\n")
            (tools / tool).chmod(0o755)
        if mounts:
            (tools / "rmdir").write_text("#!/bin/sh\necho Device or resource busy >&2\nexit 1\n")
            (tools / "rmdir").chmod(0o755)
        script = (PACKAGING / "postrm").read_text()
        for folder in ("/var/lib/cabinet", "/etc/cabinet", "/run/cabinet", "/run/systemd/system"):
            script = script.replace(folder, f"{tmp_path}{folder}")
        path = f"{tools}:/usr/bin:/bin"
        subprocess.run(["sh", "-c", script, "postrm", "purge"], env={"PATH": path, **environment}, check=True)
        assert (tmp_path / "etc/cabinet").exists() == mounts
        assert list((tmp_path / "etc").rglob("*.toml")) == []
        return {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()}

    return purge


def test_purge_keeps_what_is_billed_from(purged):
    assert purged() == {"cabinet.db", "cabinet.db-wal", "keys/usage.key", "backups/cabinet-000001.db"}


def test_purge_of_everything_leaves_nothing(purged):
    assert purged(CABINET_PURGE="everything") == set()


@pytest.mark.parametrize(("everything", "left"), [("", 4), ("everything", 0)])
def test_purge_empties_folders_that_are_mounts_of_their_own(purged, everything, left):
    """The read-only root of docs/operations.md: such a folder cannot be removed, and its lost+found is not ours."""
    kept = purged(mounts=True, CABINET_PURGE=everything) - {"lost+found/#12"}
    assert len(kept) == left


def test_no_outlet_has_power_while_files_are_replaced():
    """dpkg stops guard and service before any action; if the guard cannot be stopped, it refuses."""
    script = (PACKAGING / "prerm").read_text()
    assert re.search(r"^    deb-systemd-invoke stop cabinet-guard\.service$", script, re.MULTILINE)
    assert "cabinet failsafe" in script


@pytest.mark.parametrize(("reason", "ends"), [("remove", True), ("upgrade", False)])
def test_removing_ends_a_trial_and_upgrading_does_not(tmp_path, reason, ends):
    """Its watcher would take the stopped units for failed ones and install again what was removed; but it is this
    watcher that upgrades.
    """
    trial, tools, called = tmp_path / "var/lib/cabinet/update/trial.json", tmp_path / "tools", tmp_path / "called"
    for folder in (trial.parent, tools, tmp_path / "run/systemd/system"):
        folder.mkdir(parents=True)
    trial.touch()
    (tools / "deb-systemd-invoke").write_text(f'#!/bin/sh\necho "$*" >> {called}\n')
    (tools / "deb-systemd-invoke").chmod(0o755)
    script = (PACKAGING / "prerm").read_text()
    for folder in ("/var/lib/cabinet", "/etc/cabinet", "/run/systemd/system"):
        script = script.replace(folder, f"{tmp_path}{folder}")
    subprocess.run(["sh", "-c", script, "prerm", reason], env={"PATH": f"{tools}:/usr/bin:/bin"}, check=True)
    first, *others = called.read_text().splitlines()
    assert (first == "stop cabinet-update.service", trial.exists()) == (ends, not ends)
    assert not [call for call in others if "cabinet-update" in call]


@pytest.fixture
def moved(tmp_path):
    """Runs postinst or prerm with its folders below tmp_path and no tool that does anything; returns the folder."""
    tools = tmp_path / "tools"
    for folder in (tools, tmp_path / "run/cabinet", tmp_path / "var/lib/cabinet/failsafe", tmp_path / "etc/cabinet"):
        folder.mkdir(parents=True)
    for tool in (
        "systemd-sysusers",
        "systemd-tmpfiles",
        "deb-systemd-helper",
        "deb-systemd-invoke",
        "chown",
        "systemctl",
    ):
        (tools / tool).write_text("#!/bin/sh\n")
        (tools / tool).chmod(0o755)

    def run(name: str, *words: str) -> Path:
        script = (PACKAGING / name).read_text()
        for folder in ("/var/lib/cabinet", "/etc/cabinet", "/run/cabinet", "/run/systemd/system"):
            script = script.replace(folder, f"{tmp_path}{folder}")
        script = script.replace('= "regular empty file0"', f'= "regular empty file{os.geteuid()}"')
        path = f"{tools}:/usr/bin:/bin"
        subprocess.run(["sh", "-c", script, name, *words], env={"PATH": path}, check=True, capture_output=True)
        return tmp_path

    return run


def off(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("everything-off*")}


@pytest.mark.parametrize("before", [["run/cabinet"], ["var/lib/cabinet"], ["run/cabinet", "var/lib/cabinet"]])
def test_what_was_switched_off_before_an_upgrade_is_off_after_it(moved, tmp_path, before):
    for folder in before:
        (tmp_path / folder / "everything-off").touch()
    root = moved("postinst", "configure", "0.1.0")
    assert off(root) == {"run/cabinet/everything-off", "var/lib/cabinet/failsafe/everything-off"}
    moved("postinst", "configure", "0.2.0")
    assert off(root) == {"run/cabinet/everything-off", "var/lib/cabinet/failsafe/everything-off"}


@pytest.mark.parametrize("squat", ["folder", "link", "content"])
def test_marker_that_root_has_not_made_switches_nothing_off_and_is_taken_away(moved, tmp_path, squat):
    marker, target = tmp_path / "var/lib/cabinet/everything-off", tmp_path / "etc/passwd"
    target.touch()
    if squat == "folder":
        marker.mkdir()
    elif squat == "link":
        marker.symlink_to(target)
    else:
        marker.write_text("made by another")
    assert off(moved("postinst", "configure", "0.1.0")) == set()
    assert target.exists()


def test_update_that_goes_back_leaves_off_what_was_switched_off(moved, tmp_path):
    """The version before looks in another place."""
    (tmp_path / "var/lib/cabinet/failsafe/everything-off").touch()
    assert "var/lib/cabinet/everything-off" in off(moved("prerm", "upgrade", "0.1.0"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here")
def test_package_of_a_tree_is_one_that_dpkg_reads(tmp_path, monkeypatch):
    """Everything but the dependencies, which only `make deb` downloads."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1780000000")
    build_deb.lay_out_files(root, "1.2.3")
    build_deb.write_control(root, "arm64", "1.2.3")
    package = tmp_path / "cabinet.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, package], check=True)
    shown = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
    assert "Version: 1.2.3" in shown
    listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    (tmp_path / "files.tar").write_bytes(listing)
    with tarfile.open(tmp_path / "files.tar") as tar:
        names = {member.name for member in tar if member.isfile()}
        owners = {(member.uid, member.gid) for member in tar}
    assert "./usr/lib/systemd/system/cabinet-guard.service" in names
    assert owners == {(0, 0)}
