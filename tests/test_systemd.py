"""The units: what systemd's own tools say of them, and what they must hold whatever else changes."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "systemd"
INSTALLED = "/usr/lib/cabinet/bin/cabinet"
COPY_OF_THE_OLD = "/var/lib/cabinet/update/old/usr/lib/cabinet/bin/python3"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)

# Exposure as systemd counts it, times ten: 0 is closed, 100 is open (a unit without any hardening has 96).
BOUNDS = {
    "cabinet-guard": 25,
    "cabinet-service": 16,
    "cabinet-console": 16,
    "cabinet-failsafe": 16,
    "cabinet-backup": 10,
    "cabinet-steward": 25,
    "cabinet-uplink": 16,
}
RESIDENT = ("cabinet-guard", "cabinet-service", "cabinet-console", "cabinet-steward", "cabinet-uplink")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The units as they would be on a machine where the product is installed where we run from."""
    folder = tmp_path_factory.mktemp("units")
    here = Path(sys.executable).with_name("cabinet")
    assert here.exists(), "the cabinet command is not beside this Python"
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.timer"), *UNITS.glob("*.path")]:
        text = unit.read_text().replace(COPY_OF_THE_OLD, sys.executable)
        (folder / unit.name).write_text(text.replace(INSTALLED, str(here)))
    return folder


def of_the_product() -> list[Path]:
    """The units that run a part of the product; the others only start those."""
    return [unit for unit in sorted(UNITS.glob("*.service")) if INSTALLED in unit.read_text()]


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_units_verify_clean(installed):
    done = tool("systemd-analyze", "verify", "--recursive-errors=no", *sorted(installed.glob("*.*")))
    complaints = [line for line in done.stderr.splitlines() if str(installed) in line or "cabinet-" in line]
    assert (complaints, done.returncode) == ([], 0), done.stderr


@needs_systemd
@pytest.mark.parametrize("name", BOUNDS)
def test_exposure_is_bounded(name, installed):
    """systemd's own gate: its exit status is 1 above the threshold."""
    threshold = f"--threshold={BOUNDS[name]}"
    done = tool("systemd-analyze", "security", "--offline=true", threshold, installed / f"{name}.service")
    match = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    print(f"{name}: exposure {match[1]} of at most {BOUNDS[name] / 10}")
    assert done.returncode == 0, match[0]


def test_every_unit_of_the_product_has_a_bound():
    """The one that installs packages runs as root, for the minutes of an update only."""
    assert {unit.stem for unit in of_the_product()} == BOUNDS.keys()
    update = section(UNITS / "cabinet-update.service")
    assert update["Service"]["ExecStart"].startswith(f"{COPY_OF_THE_OLD} ")
    assert update["Unit"]["ConditionPathExists"] == "/var/lib/cabinet/update/trial.json"


@needs_systemd
@pytest.mark.parametrize("name", RESIDENT)
def test_what_remains_of_the_exposure_is_explained(name, installed):
    """Each point that systemd still counts has its row in the document, in the table of that unit."""
    done = tool("systemd-analyze", "security", "--offline=true", "--json=short", installed / f"{name}.service")
    remaining = {row["json_field"] for row in json.loads(done.stdout) if float(row["exposure"] or 0) > 0}
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = re.search(rf"^### Exposure of {name}$(.*?)^#", document, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/operations.md has no part on {name}"
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", section[1], re.MULTILINE))))
    assert explained == remaining


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed here")
def test_users_can_be_made(tmp_path):
    done = tool("systemd-sysusers", f"--root={tmp_path}", "--dry-run", UNITS / "cabinet.sysusers")
    assert done.returncode == 0, done.stderr
    users = {section(unit)["Service"]["User"] for unit in of_the_product()} - {"root"}
    assert {line.split()[1] for line in lines("cabinet.sysusers") if line.startswith("u ")} == users


def test_folders_are_the_ones_the_configuration_names():
    from cabinet.config.keys import PathsSection
    from cabinet.link import uplink_protocol

    made = {line.split()[1] for line in lines("cabinet.tmpfiles")}
    assert {PathsSection().run, PathsSection().state} <= made
    of_state = {
        "cabinet-steward": set(),
        "cabinet-uplink": {str(uplink_protocol.uplink_folder(Path(PathsSection().state)))},
    }
    for name in RESIDENT:
        steward = name == "cabinet-steward"
        own = f"{PathsSection().run}/{name.removeprefix('cabinet-')}"
        assert own in made
        paths = re.findall(r"^ReadWritePaths=(.*)$", (UNITS / f"{name}.service").read_text(), re.MULTILINE)
        assert set(paths[0].split()) == {own} | of_state.get(name, {PathsSection().state})
        assert set(paths[0].split()) <= made
        assert paths[1:] == (["-/media -/mnt"] if steward else [])


def of_tmpfiles() -> dict[str, tuple[str, str, str]]:
    """Path → kind, mode and owner."""
    return {path: (kind, mode, user) for kind, path, mode, user, *_ in map(str.split, lines("cabinet.tmpfiles"))}


def test_each_socket_stands_in_a_folder_that_only_its_owner_writes_to():
    """In a shared folder another process could be there first and answer in its place."""
    from cabinet.config.keys import PathsSection
    from cabinet.link import service_protocol, service_status, uplink_protocol
    from cabinet.system import run_folder
    from cabinet.system.steward.protocol import SOCKET

    run, made = Path(PathsSection().run), of_tmpfiles()
    of = {
        run_folder.guard_socket(run): "cabinet-guard",
        service_protocol.path_in(run): "cabinet-service",
        run_folder.service_address(run): "cabinet-service",
        service_status.path_in(run): "cabinet-service",
        uplink_protocol.path_in(run): "cabinet-service",
        uplink_protocol.status_file(run): "cabinet-uplink",
        run_folder.console_terminal(run): "cabinet-console",
        run_folder.steward_folder(run) / SOCKET: "root",
    }
    for path, user in of.items():
        assert made[str(path.parent)] == ("d", "2750", user), "the group enters, and only its owner writes"
    assert made[str(run)] == ("d", "2750", "root")


def test_only_root_can_keep_everything_off_or_end_it():
    made = of_tmpfiles()
    markers = [path[1:] for path in conditions("cabinet-guard") if path.startswith("!")]
    assert len(markers) == 2
    for marker in markers:
        kind, mode, user = made[str(Path(marker).parent)]
        assert (kind, user, int(mode, 8) & 0o022) == ("d", "root", 0), marker


def test_names_of_the_guards_state_are_the_guards_before_anything_runs():
    """The state folder is shared: a name that another process made first could not be written by the guard."""
    from cabinet.config.keys import PathsSection
    from cabinet.guard.state_files import LATCHES, MAINTENANCE, ROOM_BYTES
    from cabinet.system.atomic_file import ReservedFile

    made = of_tmpfiles()
    for name in (LATCHES, MAINTENANCE):
        file = ReservedFile(Path(PathsSection().state) / name, ROOM_BYTES[name])
        assert made[str(file.path)] == made[str(file.spare)] == ("f", "0640", "cabinet-guard")


def test_steward_writes_nothing_of_the_state_and_does_not_see_the_keys():
    """It is root: what others put there must not lead it into what root runs, such as an update on trial."""
    from cabinet.config.keys import PathsSection

    steward = section(UNITS / "cabinet-steward.service")["Service"]
    assert steward["ReadOnlyPaths"] == PathsSection().state
    assert steward["InaccessiblePaths"] == f"-{PathsSection().state}/keys"


def test_only_the_steward_is_root_and_it_may_do_little_of_what_root_may():
    roots = [unit.stem for unit in of_the_product() if section(unit)["Service"]["User"] == "root"]
    assert roots == ["cabinet-steward"]
    steward = section(UNITS / "cabinet-steward.service")["Service"]
    assert steward["CapabilityBoundingSet"] == "CAP_SYS_TIME CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE"
    assert steward["NoNewPrivileges"] == "yes"


@pytest.mark.parametrize("name", BOUNDS)
def test_system_is_read_only_to_every_unit(name):
    """The product works on a read-only root, with one writable partition for state and configuration."""
    service = section(UNITS / f"{name}.service")["Service"]
    assert service["ProtectSystem"] == "strict"
    assert all(
        path.removeprefix("-") in ("/var/lib/cabinet", "/media/cabinet-backup", "/media", "/mnt")
        or path.startswith(("/run/cabinet/", "/var/lib/cabinet/"))
        for path in service["ReadWritePaths"].split()  # sticks are mounted under the last three
    )


def test_guard_waits_for_nothing():
    unit = section(UNITS / "cabinet-guard.service")
    assert not {"After", "Requires", "Wants", "BindsTo"} & unit["Unit"].keys()


@pytest.mark.parametrize("name", RESIDENT)
def test_restarts_are_no_storm_and_never_given_up(name):
    """A number of restarts per time, a pause, then again; the pause is a timer that the failed unit starts."""
    unit = section(UNITS / f"{name}.service")
    assert (unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]) == ("2min", "always")
    # Reached by a unit that ends at once: otherwise the limit would be none.
    assert int(unit["Unit"]["StartLimitBurst"]) * int(unit["Service"]["RestartSec"]) < 60
    assert unit["Unit"]["OnFailure"] == f"cabinet-again@{name.removeprefix('cabinet-')}.timer"
    assert section(UNITS / "cabinet-again@.timer")["Timer"] == {
        "OnActiveSec": "2min",
        "AccuracySec": "1s",
        "RemainAfterElapse": "no",
    }


def test_uplink_runs_only_if_configured_and_sees_no_key_but_its_own():
    """The usage log's signing key is none of its business: it speaks to the internet."""
    service = section(UNITS / "cabinet-uplink.service")["Service"]
    assert service["ExecCondition"] == f"{INSTALLED} uplink enabled --config /etc/cabinet/cabinet.toml"
    assert service["InaccessiblePaths"] == "-/var/lib/cabinet/keys"
    assert of_tmpfiles()["/var/lib/cabinet/uplink"] == ("d", "2750", "cabinet-uplink")


def test_an_update_is_seen_through_however_often_that_fails():
    """With a limit used up, nothing would bring the old version back until a restart of the computer."""
    unit = section(UNITS / "cabinet-update.service")
    assert (unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]) == ("0", "on-failure")
    assert int(unit["Service"]["RestartSec"]) >= 60


@pytest.mark.parametrize(
    "name", ["cabinet-guard", "cabinet-service", "cabinet-failsafe", "cabinet-backup", "cabinet-uplink"]
)
def test_without_a_configuration_nothing_runs_but_the_console(name):
    assert "/etc/cabinet/cabinet.toml" in conditions(name)
    assert "ConditionPathExists" not in section(UNITS / "cabinet-console.service")["Unit"]


def conditions(name: str) -> list[str]:
    return re.findall(r"^ConditionPathExists=(.*)$", (UNITS / f"{name}.service").read_text(), re.MULTILINE)


def test_what_staff_have_switched_off_no_start_of_the_guard_undoes():
    """Its timer, an upgrade and the boot start the guard; a Conflicts= would end the failsafe unit for each of them."""
    text = (UNITS / "cabinet-failsafe.service").read_text()
    files = ["/run/cabinet/everything-off", "/var/lib/cabinet/failsafe/everything-off"]
    begins = re.findall(r"^ExecStartPre=(.*)$", text, re.MULTILINE)
    assert begins == [f"-+touch {' '.join(files)}", "-+systemctl stop cabinet-guard.service"]
    assert [f"!{file}" for file in files] == conditions("cabinet-guard")[1:]
    assert "Conflicts" not in section(UNITS / "cabinet-failsafe.service")["Unit"]
    path = section(UNITS / "cabinet-failsafe.path")
    assert path["Path"] == {"PathExists": files[1]}
    assert [path["Unit"]["ConditionPathExists"]] == conditions("cabinet-failsafe"), "or it would be triggered for ever"


def test_guard_stopped_by_hand_is_not_started_by_the_timer_of_an_earlier_failure():
    assert section(UNITS / "cabinet-guard.service")["Unit"]["PropagatesStopTo"] == "cabinet-again@guard.timer"
    script = (ROOT / "packaging/prerm").read_text()
    assert script.index("stop 'cabinet-again@*.timer'") < script.index("stop cabinet-guard.service")


def test_accounts_that_staff_run_commands_as_may_read_the_configuration():
    members = [line.split() for line in lines("cabinet.sysusers") if line.startswith("m ")]
    assert members == [["m", f"cabinet-{name}", "cabinet"] for name in ("guard", "service", "console", "uplink")]


@needs_systemd
def test_backup_comes_every_night():
    calendar = section(UNITS / "cabinet-backup.timer")["Timer"]["OnCalendar"]
    assert tool("systemd-analyze", "calendar", calendar).returncode == 0


def test_journal_is_bounded():
    journal = section(UNITS / "cabinet-journald.conf")["Journal"]
    assert (journal["SystemMaxUse"], journal["RuntimeMaxUse"]) == ("64M", "16M")


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


@pytest.mark.parametrize("name", ["cabinet-guard", "cabinet-service", "cabinet-console", "cabinet-uplink"])
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


@pytest.mark.parametrize("name", RESIDENT)
def test_on_a_new_cabinet_a_unit_waits_or_runs_without_a_configuration(name):
    """A unit that starts and ends for want of the file would be started again for ever."""
    unit = section(UNITS / f"{name}.service")
    waits = "/etc/cabinet/cabinet.toml" in conditions(name)
    runs_without = "--commissioning" in unit["Service"]["ExecStart"]
    assert waits != runs_without
