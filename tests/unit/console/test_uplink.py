"""The link to the fleet on the console: state, error, what waits, and the enrolment."""

from pathlib import Path

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.link import uplink_protocol
from cabinet.link.service_protocol import EnrolUplink, Handed, UplinkView
from cabinet.link.uplink_protocol import UplinkStatus
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import CONFIG, FakeServiceClient, snapshot
from cabinet_testing.fake_guard import FakeGuard

REFUSED = UplinkStatus(2 * NS, 10.0, "refused", NS, "the certificate was revoked", "sg-1", "fleet.example")
OUTBOX = UplinkView("epoch", 12, 7, 90, {"tariffs": 3}, {"public_url": "is set in cabinet.toml"})
CONFIGURED = msgspec.structs.replace(CONFIG, uplink=msgspec.structs.replace(CONFIG.uplink, enabled=True))


def console(folder: Path, status: UplinkStatus | None, name: str = "tech", *answers: object) -> ConsoleHarness:
    records = FakeServiceClient(*answers)
    return ConsoleHarness(
        FakeGuard.showing(snapshot()), folder, name, config=CONFIGURED, records=records, uplink=lambda: status
    )


def test_state_error_and_what_waits_are_shown(tmp_path: Path) -> None:
    shown = console(tmp_path, REFUSED, "tech", OUTBOX).say("uplink")
    for word in ("refused by the fleet", "revoked", "sg-1", "12 written, 7 acknowledged, 5 wait", "1.5 min"):
        assert word in shown
    assert "tariffs 3" in shown
    assert "public_url: is set in cabinet.toml" in shown


def test_the_uplink_that_does_not_run_is_named_and_so_is_a_dead_service(tmp_path: Path) -> None:
    terminal = console(tmp_path, None)
    shown = terminal.say("uplink")
    assert "systemctl status cabinet-uplink" in shown
    assert "The service does not answer" in shown
    assert "fleet: the uplink does not run" in terminal.say("status")


def test_without_a_fleet_the_status_is_as_before(tmp_path: Path) -> None:
    alone = ConsoleHarness(FakeGuard.showing(snapshot()), tmp_path)
    assert "fleet" not in alone.say("status")
    assert "No fleet is configured" in alone.say("uplink")
    assert "not connected to a fleet" in alone.say("uplink enrol 7KQ2-M4TX-9RBD")


def test_the_code_goes_to_the_service_as_typed(tmp_path: Path) -> None:
    terminal = console(tmp_path, None, "tech", Handed())
    assert "handed to the uplink" in terminal.say("uplink enrol 7kQ2-M4TX-9RBD ")
    records = terminal.shell._backends.records
    assert isinstance(records, FakeServiceClient)
    assert records.asked == [EnrolUplink("7kQ2-M4TX-9RBD")]


def test_a_report_that_is_too_old_is_none(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert uplink_protocol.read_status(path, 0) is None
    uplink_protocol.write_status(path, REFUSED)
    assert uplink_protocol.read_status(path, 32 * NS) == REFUSED
    assert uplink_protocol.read_status(path, 33 * NS) is None
    path.write_text("{}")
    assert uplink_protocol.read_status(path, 32 * NS) is None


@pytest.mark.parametrize("name", ["guest", "night"])
def test_only_service_staff_enrol(tmp_path: Path, name: str) -> None:
    assert "handed" not in console(tmp_path, None, name, Handed()).say("uplink enrol 7KQ2-M4TX-9RBD")
