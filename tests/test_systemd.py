"""The units: what systemd's own tools say of them, and what they must hold whatever else changes."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "systemd"
INSTALLED = "/opt/cabinet/bin/cabinet"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)

# Exposure as systemd counts it: 0 is closed, 10 is open (a unit without any hardening has 9.6).
BOUNDS = {"cabinet-guard": 2.5, "cabinet-service": 2.0, "cabinet-console": 1.6, "cabinet-steward": 2.5}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The units as they would be on a machine where the product is installed where we run from."""
    folder = tmp_path_factory.mktemp("units")
    here = Path(sys.executable).with_name("cabinet")
    assert here.exists(), "the cabinet command is not beside this Python"
    for unit in UNITS.glob("*.service"):
        text = unit.read_text()
        assert INSTALLED in text
        (folder / unit.name).write_text(text.replace(INSTALLED, str(here)))
    return folder


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_units_verify_clean(installed):
    done = tool("systemd-analyze", "verify", "--recursive-errors=no", *sorted(installed.glob("*.service")))
    complaints = [line for line in done.stderr.splitlines() if str(installed) in line or "cabinet-" in line]
    assert (complaints, done.returncode) == ([], 0), done.stderr


@needs_systemd
@pytest.mark.parametrize("name", BOUNDS)
def test_exposure_is_bounded(name, installed):
    done = tool("systemd-analyze", "security", "--offline=true", installed / f"{name}.service")
    match = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    print(f"{name}: exposure {match[1]} of at most {BOUNDS[name]}")
    assert float(match[1]) <= BOUNDS[name]


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed here")
def test_users_can_be_made(tmp_path):
    done = tool("systemd-sysusers", f"--root={tmp_path}", "--dry-run", UNITS / "cabinet.sysusers")
    assert done.returncode == 0, done.stderr
    users = {section(unit)["Service"]["User"] for unit in UNITS.glob("*.service")} - {"root"}
    assert {line.split()[1] for line in lines("cabinet.sysusers") if line.startswith("u ")} == users


def test_folders_are_the_ones_the_configuration_names():
    from cabinet.config.keys import Paths

    folders = {line.split()[1] for line in lines("cabinet.tmpfiles")}
    assert folders == {Paths().run, Paths().state}
    for unit in UNITS.glob("*.service"):
        paths = re.findall(r"^ReadWritePaths=(.*)$", unit.read_text(), re.MULTILINE)
        assert set(paths[0].split()) == folders
        assert paths[1:] == (["-/media -/mnt"] if unit.stem == "cabinet-steward" else [])


def test_only_the_steward_is_root_and_it_may_do_little_of_what_root_may():
    roots = [unit.stem for unit in UNITS.glob("*.service") if section(unit)["Service"]["User"] == "root"]
    assert roots == ["cabinet-steward"]
    steward = section(UNITS / "cabinet-steward.service")["Service"]
    assert steward["CapabilityBoundingSet"] == "CAP_SYS_TIME CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE"
    assert steward["NoNewPrivileges"] == "yes"


def test_guard_waits_for_nothing_and_never_gives_up():
    unit = section(UNITS / "cabinet-guard.service")
    assert not {"After", "Requires", "Wants", "BindsTo"} & unit["Unit"].keys()
    assert (unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]) == ("0", "always")


def test_guard_is_watched_and_everything_opens_after_it():
    service = section(UNITS / "cabinet-guard.service")["Service"]
    assert service["WatchdogSec"] == "2"
    assert service["NotifyAccess"] == "all", "the guard that notifies is a child of the keeper"
    assert service["ExecStopPost"] == f"{INSTALLED} failsafe --config /etc/cabinet/cabinet.toml"


def test_guard_may_be_real_time_and_reach_its_devices():
    service = section(UNITS / "cabinet-guard.service")["Service"]
    assert int(service["LimitRTPRIO"]) >= 50
    assert service["LimitMEMLOCK"] == "infinity"
    assert not {"RestrictRealtime", "PrivateDevices", "ProcSubset", "ProtectClock"} & service.keys()
    text = (UNITS / "cabinet-guard.service").read_text()
    assert not re.search(r"^SystemCallFilter=.*@resources", text, re.MULTILINE)
    assert re.findall(r"^DeviceAllow=(.*)$", text, re.MULTILINE) == ["char-i2c rw", "char-gpiochip rw"]


@pytest.mark.parametrize("name", ["cabinet-guard", "cabinet-service", "cabinet-console"])
def test_clock_trust_and_boot_id_can_be_read(name):
    """Without the one every time would count as untrusted, without the other no session would survive a restart."""
    text = (UNITS / f"{name}.service").read_text()
    assert re.search(r"^SystemCallFilter=adjtimex clock_adjtime$", text, re.MULTILINE)
    assert not re.search(r"^(ProtectClock|ProcSubset)=", text, re.MULTILINE)


def lines(name: str) -> list[str]:
    return [line for line in (UNITS / name).read_text().splitlines() if line and not line.startswith("#")]


def section(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(unit)
    return parser


def test_hardware_watchdog_resets_the_board_within_what_the_pi_can_count():
    manager = configparser.ConfigParser()
    manager.read(UNITS / "cabinet-watchdog.conf")
    assert 0 < int(manager["Manager"]["RuntimeWatchdogSec"]) <= 14
