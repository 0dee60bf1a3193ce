"""`cabinet uplink`: enrolment and state, as staff type them."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cabinet.clock import SystemClock
from cabinet.demo import folder
from cabinet.link.uplink_protocol import UplinkStatus, status_file, write_status
from cabinet.main import main
from cabinet.uplink.messages import Enrol, Enrolled
from cabinet_testing.enrolment_server import enrolment_server
from cabinet_testing.fleet_broker import now
from fleet.enrolment import EnrolmentRefused
from fleet.trust import TrustFolder

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
ENABLED = "\n[uplink]\nenabled = true\n"


@pytest.fixture
def config(tmp_path) -> Path:
    return folder.prepare(tmp_path / "var", None)


@pytest.fixture
def uplink(config, capsys):
    """Runs `cabinet uplink …`; returns its exit status and what it printed."""

    def uplink(*words: object) -> tuple[int, str]:
        status = main(["uplink", *map(str, words), "--config", str(config)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return uplink


def report(config: Path, state: str, error: str = "") -> None:
    now_ns = SystemClock().monotonic_ns()
    status = UplinkStatus(now_ns, 30, state, now_ns - 90_000_000_000, error, "cab-1", "broker.example")  # type: ignore[arg-type]
    write_status(status_file(config.parent / "run"), status)


def test_cabinet_without_an_uplink_runs_none(uplink):
    assert uplink("enabled") == (1, "")
    assert uplink() == (1, "uplink.enabled is false: this cabinet has no uplink\n")
    status, shown = uplink("status")
    assert status == 1
    assert "not enrolled" in shown
    assert "not running: uplink.enabled is false" in shown


def test_enrolment_names_the_cabinet_and_the_end_of_its_certificate(uplink, config, tmp_path):
    trust = TrustFolder(tmp_path / "trust")
    trust.make(["127.0.0.1"], now())

    def answer(request: Enrol, address: str) -> Enrolled:
        if request.code != "ABCD-EFGH-JKLM-NPQR":
            raise EnrolmentRefused("code_refused")
        pem = trust.sign_csr(request.csr_pem, "cab-1", now()).pem
        return Enrolled("cab-1", pem, trust.ca_pem(), "broker.example", 8883, trust.public_keys(), "https://x.example")

    with enrolment_server(answer, trust.broker_certificate, trust.broker_key) as url:
        words = ("--fleet", url, "--ca", trust.ca_certificate)
        assert uplink("enrol", "WRONG-CODE", *words) == (
            1, "code_refused\nThe code is wrong, used or too old: get a new one from the fleet.\n",
        )  # fmt: skip
        status, shown = uplink("enrol", "ABCD-EFGH-JKLM-NPQR", *words)
    assert status == 0
    assert shown.startswith("enrolled as cab-1; broker broker.example:8883, certificate until 20")
    assert "set uplink.enabled = true" in shown
    assert "cabinet      cab-1\n" in uplink("status")[1]


def test_status_says_what_to_do(uplink, config):
    config.write_text(config.read_text() + ENABLED)
    assert uplink("enabled") == (0, "")
    report(config, "connected")
    assert uplink("status")[0] == 0
    report(config, "refused", "certificate_expired: sslv3 alert")
    status, shown = uplink("status")
    assert status == 1
    assert "state        refused for 0:01:30" in shown
    assert "get a new code from the fleet, then: uplink enrol CODE" in shown


def test_address_of_the_fleet_is_needed(uplink):
    status, shown = uplink("enrol", "ABCD-EFGH-JKLM-NPQR")
    assert (status, shown.splitlines()[0].partition(":")[0]) == (1, "bad_address")


def test_process_starts_without_an_enrolment_and_ends_at_a_signal(config):
    config.write_text(config.read_text() + ENABLED)
    command = [sys.executable, "-m", "cabinet.main", "uplink", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert ("not_enrolled" in line, rest, process.wait(10)) == (True, "", 0), line
