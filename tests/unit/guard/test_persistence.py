"""What must outlive a guard: latches on disk, counters in the keeper's memory."""

import os
import select
import signal
import time
from collections.abc import Callable

import pytest

from cabinet.guard.counters import Counters
from cabinet.guard.scribe import Latch, LatchFileError, Scribe
from cabinet.metering import OutletMeter
from cabinet.model import Fault

WITHIN_S = 30  # only keeps a broken build from hanging


def wait_for(holds: Callable[[], bool]) -> bool:
    """For a thread that has no event to wait on."""
    until_s = time.monotonic() + WITHIN_S
    while not (held := holds()) and time.monotonic() < until_s:
        select.select([], [], [], 0.005)
    return held


LATCHES = {3: Latch(Fault.SHORT_CIRCUIT, {"peak_ma": 61_000}), 7: Latch(Fault.OUTLET_HOT, {"temperature_mc": 76_000})}


def test_latches_are_there_for_the_next_guard(tmp_path):
    scribe = Scribe(tmp_path)
    assert scribe.latches() == {}
    scribe.save(LATCHES)
    scribe.close()
    assert Scribe(tmp_path).latches() == LATCHES


def test_last_of_many_saves_is_what_stays(tmp_path):
    scribe = Scribe(tmp_path)
    for count in range(50):
        scribe.save({1: Latch(Fault.OVERCURRENT, {"current_ma": count})})
    scribe.close()
    assert Scribe(tmp_path).latches() == {1: Latch(Fault.OVERCURRENT, {"current_ma": 49})}


def test_files_of_different_names_do_not_wait_for_each_other_and_the_newest_is_kept(tmp_path):
    scribe = Scribe(tmp_path)
    for count in range(50):
        scribe.write("upkeep.json", b"%d" % count, "nothing")
        scribe.save({1: Latch(Fault.OVERCURRENT, {"current_ma": count})})
    scribe.close()
    assert (tmp_path / "upkeep.json").read_bytes() == b"49"
    assert Scribe(tmp_path).latches() == {1: Latch(Fault.OVERCURRENT, {"current_ma": 49})}


@pytest.mark.parametrize("content", [b"", b"{", b'{"1": {"fault": "gremlins", "why": {}}}', b"\xff"])
def test_damaged_latches_stop_the_guard_with_a_line_that_names_the_file(tmp_path, content):
    (tmp_path / "latches.json").write_bytes(content)
    with pytest.raises(LatchFileError, match=r"latches\.json: cannot be read"):
        Scribe(tmp_path).latches()


def test_disk_that_takes_nothing_does_not_stop_the_scribe(tmp_path, caplog):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    scribe = Scribe(blocked)
    scribe.save(LATCHES)
    scribe.close()
    assert "latched faults would be lost" in caplog.text


def test_what_a_full_disk_did_not_take_is_named_and_written_once_it_does(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    scribe = Scribe(blocked, retry_s=0.01)
    scribe.save(LATCHES)
    assert wait_for(lambda: scribe.unwritten == ["latches.json"])
    blocked.unlink()
    assert wait_for(lambda: scribe.unwritten == [])
    scribe.close()
    assert Scribe(blocked).latches() == LATCHES


def test_guard_that_ends_tries_once_more_what_the_disk_did_not_take(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    scribe = Scribe(blocked, retry_s=3600)
    scribe.save(LATCHES)
    assert wait_for(lambda: scribe.unwritten == ["latches.json"])
    blocked.unlink()
    scribe.close()
    assert Scribe(blocked).latches() == LATCHES


def test_killed_guard_leaves_its_counters_to_the_next():
    counters = Counters(3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        counters.save(1, OutletMeter(energy_uj=5_000_000_000, powered_ns=7, charging_ns=6))
        os.write(writer, b".")
        signal.pause()
    assert os.read(reader, 1) == b"."
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    found = [counters.meter(index) for index in range(3)]
    assert [(m.energy_uj, m.powered_ns, m.charging_ns) for m in found] == [(0, 0, 0), (5_000_000_000, 7, 6), (0, 0, 0)]


def test_each_keeper_counts_in_an_epoch_of_its_own():
    assert Counters(1).epoch != Counters(1).epoch
