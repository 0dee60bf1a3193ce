"""The computer under the cabinet, from the console: asked of the steward, never of a shell."""

from importlib import resources
from typing import Any

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.config import parse
from cabinet.console.commands.machine import differences, moment
from cabinet.console.terminal.columns import width
from cabinet.errors import CabinetError
from cabinet.model import Phase
from cabinet.system.steward.protocol import (
    BackUp,
    BackupCopied,
    CancelReboot,
    Interface,
    Network,
    Reboot,
    RequestDone,
    Restart,
    SetClock,
    ShowNetwork,
)
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.sim_cabinet import SimCabinet, demo_config


class FakeSteward:
    """Answers what it was given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fails = ""
        self.waits = False

    def ask(self, request):
        self.asked.append(request)
        if self.fails:
            raise CabinetError(self.fails)
        if isinstance(request, ShowNetwork):
            return Network([Interface("eth0", True, "02:00:00:00:00:01", ["192.0.2.7/24"])], ["192.0.2.1 (eth0)"], [])
        if isinstance(request, BackUp):
            return BackupCopied("/media/stick/cabinet-backups/a.db", 204_800, "ab" * 32)
        if isinstance(request, Reboot):
            self.waits = request.wait
            return RequestDone(request.wait)
        return RequestDone(isinstance(request, CancelReboot) and self.waits)


@pytest.fixture
def sim(prepared):
    return prepared(demo_config(outlets=4))


@pytest.fixture
def steward():
    return FakeSteward()


@pytest.fixture
def tech(sim, tmp_path, steward):
    return ConsoleHarness(sim, tmp_path, steward=steward)


def charge(sim):
    sim.plug(3, "resistor:500")
    sim.start(3)
    assert sim.run(5 * NS, until=lambda: sim.outlet(3).phase is Phase.CHARGING)


def test_clock_is_set_by_the_sites_time_where_nobody_else_does(sim, tech, steward):
    assert tech.say("clock set 2026-11-25 21:30") == "The clock is synchronised by the network: nothing to set."
    sim.clock.trusted = False
    assert "No" not in tech.say("clock set 2026-11-25 21:30")
    assert "counts as not synchronised" in tech.say("yes")
    assert steward.asked == [SetClock(1_795_613_400_000)]
    assert "That is no time" in tech.say("clock set tomorrow")


@pytest.mark.parametrize(
    ("typed", "unix_ms"),
    [
        ("2026-11-25 21:30", 1_795_613_400_000),
        ("2026-11-25 21:30:05", 1_795_613_405_000),
        ("2026-13-25 21:30", None),
        ("1999-01-01 00:00", None),
        ("", None),
    ],
)
def test_time_is_read_as_people_write_it(typed, unix_ms):
    assert moment(typed, "Asia/Shanghai") == unix_ms


def test_many_addresses_of_a_network_keep_to_80_columns(tech, steward, monkeypatch):
    addresses = ["192.0.2.7/24", "2001:db8::7/64", "fe80::fc:ff:fe00:1/64"]
    shown = Network([Interface("eth0", True, "02:00:00:00:00:01", addresses)], [], [])
    monkeypatch.setattr(steward, "ask", lambda request: shown)
    said = tech.say("network")
    assert all(width(line) <= 80 for line in said.splitlines())
    assert all(address in said for address in addresses)


def test_reason_of_a_failure_keeps_to_80_columns(tech, steward):
    steward.fails = "no removable drive is mounted to be written: plug one in, and mount it under /media"
    tech.say("backup to usb")
    said = tech.say("yes")
    assert all(width(line) <= 80 for line in said.splitlines())
    assert " ".join(said.split()) == f"That failed: {steward.fails}"


def test_network_is_shown(tech):
    said = tech.say("network show")
    assert "eth0" in said
    assert "192.0.2.7/24" in said
    assert "gateway: 192.0.2.1 (eth0)" in said


def test_backup_goes_to_the_drive_or_says_why_not(tech, steward):
    tech.say("backup to usb")
    assert "Copied and read back: /media/stick/cabinet-backups/a.db (200 KiB" in tech.say("yes")
    steward.fails = "no removable drive is mounted to be written"
    tech.say("backup to usb")
    assert "no removable drive is mounted" in tech.say("yes")


def test_reboot_is_refused_waits_or_is_forced(sim, tech, steward):
    charge(sim)
    assert "only force ends that" in tech.say("reboot")
    assert "when no charge is running" in tech.say("reboot wait")
    tech.say("yes")
    assert "is cancelled" in tech.say("reboot cancel")
    assert "CHARGES ARE INTERRUPTED" in tech.say("reboot force")
    tech.say("yes")
    assert steward.asked == [Reboot(wait=True), CancelReboot(), Reboot()]


def test_without_a_steward_it_is_said(sim, tmp_path):
    tech = ConsoleHarness(sim, tmp_path)
    assert "cabinet-steward" in tech.say("network show")
    tech.say("reboot")
    assert "cabinet-steward" in tech.say("yes")


# --- reload ----------------------------------------------------------------------------------------------------------


def demo_text() -> str:
    return resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")


def test_changed_file_is_shown_and_read_by_a_restart(tmp_path, steward):
    path = tmp_path / "cabinet.toml"
    path.write_text(demo_text(), encoding="utf-8")
    sim = SimCabinet(tmp_path / "guard", parse(demo_text(), "demo.toml"))
    tech = ConsoleHarness(sim, tmp_path, steward=steward, source=path)
    assert "nothing in it has changed" in tech.say("reload")
    path.write_text(demo_text().replace("service_fen_per_kwh = 30", "service_fen_per_kwh = 35"), encoding="utf-8")
    said = tech.say("reload")
    assert "tariff.service_fen_per_kwh: 30.0 -> 35.0" in said
    tech.say("yes")
    assert steward.asked == [Restart()]


def test_file_with_a_mistake_changes_nothing_and_names_it(sim, tmp_path, steward):
    path = tmp_path / "cabinet.toml"
    path.write_text(demo_text().replace("start_fee_fen = 20", "start_fee_fen = -20"), encoding="utf-8")
    tech = ConsoleHarness(sim, tmp_path, steward=steward, source=path)
    assert "start_fee_fen" in tech.say("reload")
    tech.say("yes")
    assert steward.asked == []


def test_differences_name_each_key_once():
    config = demo_config()
    outlet = msgspec.structs.replace(config.outlet[2], max_power_w=800.0)
    changed = msgspec.structs.replace(config, outlet=(*config.outlet[:2], outlet, *config.outlet[3:]))
    assert differences(config, config) == []
    assert differences(config, changed) == ["outlet[3].max_power_w: 1000.0 -> 800.0"]
