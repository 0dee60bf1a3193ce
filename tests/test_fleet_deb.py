"""The Debian package of the fleet: what goes into it, and what its scripts do, without building it."""

import re
import subprocess
from pathlib import Path

import pytest

from tools import build_deb, build_fleet_deb, deb_packages, lock

ROOT = Path(__file__).parents[1]
PACKAGING = build_fleet_deb.PACKAGING
UNITS = [ROOT / f"systemd/fleet/cabinet-fleet-{name}.service" for name in ("web", "worker")]


def test_every_unit_and_setting_of_the_fleet_is_in_its_package():
    placed = {path for pattern in build_fleet_deb.FILES for path in ROOT.glob(pattern)}
    assert set((ROOT / "systemd" / "fleet").iterdir()) <= placed


def test_packages_of_cabinet_and_fleet_share_no_file():
    """Both may be on one machine."""
    assert not set(build_deb.FILES) & set(build_fleet_deb.FILES) - {"packaging/copyright"}
    assert build_deb.HOME != build_fleet_deb.HOME


def test_every_dependency_of_the_fleet_is_locked_within_its_range():
    from packaging.requirements import Requirement

    versions = lock.locked(lock.FLEET.read_text())
    for line in lock.setup_cfg("fleet"):
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(versions[name]), f"{line}, locked is {versions[name]}: tools/lock.py"
    assert not set(versions) & {name.lower() for name in lock.NOT_IN_THE_FLEET}


def test_manual_page_names_every_command_of_the_fleet():
    from fleet.main import COMMANDS

    page = build_fleet_deb.manual_page("1.2.3")
    assert [name for name in COMMANDS if f".B {name}\n" not in page] == []


def test_control_file_of_the_fleet_says_which_python_and_system():
    fields = {"version": "1", "architecture": "arm64", "installed_kib": 1, "pythons": "python3 (>= 3.11~)"}
    control = (PACKAGING / "control.in").read_text().format(**fields)
    assert control.startswith("Package: cabinet-fleet\n")
    assert "Depends: python3 (>= 3.11~), libc6 (>= 2.36)" in control
    assert f'PYTHONS="{" ".join(deb_packages.PYTHONS)}"' in (PACKAGING / "preinst").read_text()


@pytest.mark.parametrize("name", build_deb.SCRIPTS)
def test_script_of_the_fleet_is_good_shell(name):
    assert subprocess.run(["sh", "-n", PACKAGING / name], check=False).returncode == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_of_the_fleet_runs_without_rights(unit):
    text = unit.read_text()
    for line in ("User=cabinet-fleet", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=",
                 "ConditionPathExists=/etc/cabinet-fleet/fleet.toml"):  # fmt: skip
        assert f"\n{line}\n" in text
    command = re.search(r"^ExecStart=/usr/lib/cabinet-fleet/bin/fleet (\w+) ", text, re.MULTILINE)
    assert command is not None
    from fleet.main import COMMANDS

    assert command[1] in COMMANDS


def test_broker_runs_as_its_own_account_and_reads_a_new_revocation_list():
    """The fleet's processes may not signal it, so root does when the file changes."""
    broker = (ROOT / "systemd/fleet/cabinet-fleet-broker.service").read_text()
    assert "\nConditionPathExists=/var/lib/cabinet-fleet/broker/mosquitto.conf\n" in broker
    for line in ("User=mosquitto", "SupplementaryGroups=cabinet-fleet", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert f"\n{line}\n" in broker
    assert "\nExecReload=kill -HUP $MAINPID\n" in broker
    path = (ROOT / "systemd/fleet/cabinet-fleet-crl.path").read_text()
    assert "\nPathChanged=/var/lib/cabinet-fleet/broker/crl.pem\n" in path
    reload = (ROOT / "systemd/fleet/cabinet-fleet-crl.service").read_text()
    assert "reload-or-try-restart cabinet-fleet-broker.service" in reload


@pytest.fixture
def scripts(tmp_path):
    """Runs a script with its folders below tmp_path and tools that only write down their calls; returns the calls."""
    tools, called = tmp_path / "tools", tmp_path / "called"
    for folder in (tools, tmp_path / "run/systemd/system"):
        folder.mkdir(parents=True)
    names = "systemd-sysusers systemd-tmpfiles deb-systemd-helper deb-systemd-invoke chown systemctl setpriv"
    for tool in names.split():
        (tools / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >> {called}\n[ ! -e {tmp_path}/{tool}-fails ]\n')
        (tools / tool).chmod(0o755)

    def run(name: str, *arguments: str, **environment: str) -> list[str]:
        script = (PACKAGING / name).read_text()
        for folder in ("/var/lib/cabinet-fleet", "/etc/cabinet-fleet", "/run/systemd/system"):
            script = script.replace(folder, f"{tmp_path}{folder}")
        called.write_text("")
        subprocess.run(
            ["sh", "-c", script, name, *arguments], env={"PATH": f"{tools}:/usr/bin:/bin", **environment}, check=True
        )
        return called.read_text().splitlines()

    return run


def configured(tmp_path: Path) -> None:
    (tmp_path / "etc/cabinet-fleet").mkdir(parents=True)
    (tmp_path / "etc/cabinet-fleet/fleet.toml").touch()


def test_upgrade_migrates_the_database_before_the_new_version_starts(scripts, tmp_path):
    configured(tmp_path)
    calls = scripts("postinst", "configure", "0.1.0")
    migrated = next(n for n, call in enumerate(calls) if call.startswith("setpriv") and " migrate " in call)
    started = next(n for n, call in enumerate(calls) if call.startswith("deb-systemd-invoke start"))
    assert migrated < started
    assert "--reuid=cabinet-fleet" in calls[migrated]


def test_nothing_starts_if_the_database_could_not_be_migrated(scripts, tmp_path):
    configured(tmp_path)
    (tmp_path / "setpriv-fails").touch()
    assert not [call for call in scripts("postinst", "configure", "0.1.0") if call.startswith("deb-systemd-invoke")]


def test_installation_without_a_configuration_migrates_nothing(scripts):
    assert not [call for call in scripts("postinst", "configure", "") if call.startswith("setpriv")]


@pytest.mark.parametrize(("everything", "left"), [("", True), ("everything", False)])
def test_purge_keeps_the_keys_of_the_fleet(scripts, tmp_path, everything, left):
    configured(tmp_path)
    key = tmp_path / "var/lib/cabinet-fleet/trust/ca.key"
    key.parent.mkdir(parents=True)
    key.touch()
    scripts("postrm", "purge", CABINET_PURGE=everything)
    assert key.exists() == left
    assert not (tmp_path / "etc/cabinet-fleet").exists()
