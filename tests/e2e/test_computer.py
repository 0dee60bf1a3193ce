"""A slow computer, with the real processes: `cabinet bench` alone and beside a guard, and a bus that is slow."""

import re
import subprocess
import sys

import pytest

from cabinet_testing.real_cabinet import RealCabinet, running

pytestmark = pytest.mark.slow


@pytest.fixture
def cabinet(tmp_path):
    with running(tmp_path, None, "sim") as started:
        yield started


def bench(cabinet: RealCabinet) -> str:
    """Return the output; whether the promise is kept depends on the machine of the tests."""
    words = [sys.executable, "-m", "cabinet.main", "bench", "--seconds", "1", "--config", str(cabinet.config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    kept = "this computer keeps the promise" in done.stdout
    assert done.returncode == (0 if kept else 1), done.stdout + done.stderr
    return done.stdout


def bus_khz(shown: str) -> int:
    found = re.search(r"^bus, kHz +(\d+)", shown, re.MULTILINE)
    assert found is not None, shown
    return int(found[1])


def test_bench_measures_the_bus_of_the_cabinet_and_switches_nothing(cabinet):
    as_configured = bus_khz(bench(cabinet))
    cabinet.sim("fault", "all", "slow_bus", "--hz", "160000")
    slow = bench(cabinet)
    assert "this computer does NOT keep the promise" in slow
    assert as_configured > 300 > 200 > bus_khz(slow)
    switched = {record["kind"] for record in cabinet.journal()}
    assert not switched & {"coil_on", "contactor_on", "coil_supply_on"}, switched


def test_guard_measures_the_bus_at_its_start_and_bench_refuses_beside_it(cabinet):
    cabinet.sim("fault", "all", "slow_bus", "--hz", "160000")
    cabinet.start("guard")
    assert "the guard runs: first switch everything off" in cabinet.command("bench", fails=True)
    health = cabinet.snapshot().health
    assert health.bus_hz is not None
    assert health.bus_hz < 200_000
    assert "the bus is slower than the 400000 Hz configured" in cabinet.processes["guard"].log


def test_bench_without_an_answering_meter_ends_with_one_sentence(cabinet):
    cabinet.sim("fault", "all", "noise_reads", "--share", "1")
    assert cabinet.command("bench", fails=True).splitlines()[-1] == (
        "no meter answers on the bus: nothing can be measured"
    )
