"""The flight recorder: what it keeps of a trip, of many trips, and of a guard that ends."""

import errno

import pytest

from cabinet.clock import MS, NS, ManualClock
from cabinet.guard import trip_writer
from cabinet.guard.recorder import AFTER_NS, BEFORE_NS, Recorder, RingSlice
from cabinet.guard.trip_writer import TripWriter
from cabinet.link.guard_protocol import Done
from cabinet.model import Event, EventKind, Fault
from cabinet.trips.folder import load, numbers
from cabinet.trips.format import CLOSED
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

PERIOD_NS = 3 * MS


class RecorderHarness:
    """A recorder without outlets to look at, and what it handed over."""

    def __init__(self, takes: bool = True) -> None:
        self.slices: list[RingSlice] = []
        self.takes = takes
        self.recorder = Recorder(demo_config(), self._hand_over)

    def _hand_over(self, slice_: RingSlice) -> bool:
        self.slices.append(slice_)
        return self.takes


def trip(at_ns: int, outlet: int | None = 3, fault: Fault = Fault.SHORT_CIRCUIT, latched: bool = True) -> Event:
    return Event("", 0, at_ns, EventKind.TRIPPED, outlet=outlet, fault=fault, latched=latched, why={"peak_ma": 1})


@pytest.fixture
def sim(prepared):
    return prepared()


def charging(sim: SimCabinet, *outlets: int) -> None:
    for outlet in outlets:
        sim.plug(outlet, "lead-acid-48v20ah", 30)
        assert isinstance(sim.start(outlet), Done)
    sim.run(4 * NS)


@pytest.mark.after(charging, 3, 8)
def test_short_is_kept_with_two_seconds_before_and_one_after_for_every_outlet(sim):
    sim.world.fault(3, "short", amps=60)
    sim.run(2 * NS)
    sim.close()
    assert numbers(sim.trips) == [1]
    recording = load(sim.trips, 1)
    mark = recording.header.marks[0]
    assert (mark.fault, mark.outlet, mark.latched, mark.why["limit_ma"]) == (Fault.SHORT_CIRCUIT, 3, True, 30_000)
    assert recording.at_ns[0] - (mark.at_ns - BEFORE_NS) <= PERIOD_NS
    assert 0 <= mark.at_ns + AFTER_NS - recording.at_ns[-1] <= PERIOD_NS
    short, other = recording.tracks[3], recording.tracks[8]
    assert max(peak or 0 for peak in short.peak_ma) > 80_000
    assert max(peak or 0 for peak in other.peak_ma) < 60_000, "at most its own inrush"
    assert short.flags[0] & CLOSED
    assert not short.flags[-1] & CLOSED
    assert other.flags[-1] & CLOSED
    assert set(recording.tracks) == set(range(1, 11))


def test_trip_in_the_first_second_is_kept_with_what_there_was(tmp_path, monkeypatch):
    monkeypatch.setattr("cabinet_testing.sim_cabinet.UNTIL_READY_NS", 100 * MS)
    sim = SimCabinet(tmp_path)
    sim._recorder.trip(trip(sim.clock.monotonic_ns()))
    sim.run(AFTER_NS + 10 * MS)
    sim.close()
    recording = load(sim.trips, 1)
    assert 300 < recording.header.rows < 420


@pytest.mark.after(charging, 3)
def test_guard_that_ends_keeps_a_trip_that_waits_for_its_last_second(sim):
    sim.world.fault(3, "short", amps=60)
    sim.run(100 * MS)
    sim.stop_guard()
    recording = load(sim.trips, 1)
    assert recording.header.marks[0].outlet == 3
    assert recording.at_ns[-1] - recording.header.marks[0].at_ns < 200 * MS


@pytest.mark.after(charging, 3, 8)
def test_trips_within_a_second_share_a_recording(sim):
    sim.world.fault(3, "short", amps=40)
    sim.run(500 * MS)
    sim.world.fault(8, "short", amps=40)
    sim.run(2 * NS)
    sim.close()
    assert numbers(sim.trips) == [1]
    assert [mark.outlet for mark in load(sim.trips, 1).header.marks] == [3, 8]


def test_fault_that_comes_and_goes_is_recorded_once_a_minute_and_counted():
    harness = RecorderHarness()
    for _ in range(5):
        harness.recorder.trip(trip(NS, fault=Fault.SENSOR_LOST, latched=False))
    harness.recorder.trip(trip(62 * NS, fault=Fault.SENSOR_LOST, latched=False))
    harness.recorder.finish()
    assert len(harness.slices) == 2
    assert harness.slices[0].unrecorded + harness.slices[1].unrecorded == 4


def test_writer_too_far_behind_loses_recordings_that_the_next_one_counts():
    harness = RecorderHarness(takes=False)
    harness.recorder.trip(trip(NS))
    harness.recorder.finish()
    harness.takes = True
    harness.recorder.trip(trip(100 * NS))
    harness.recorder.finish()
    assert harness.slices[-1].unrecorded == 1


def test_what_is_no_trip_is_refused():
    with pytest.raises(ValueError, match="no trip"):
        RecorderHarness().recorder.trip(Event("", 0, NS, EventKind.ENDED))


class TestWriter:
    def hand_over(self, recorder: Recorder, count: int) -> None:
        for turn in range(count):
            recorder.trip(trip((1 + 10 * turn) * NS))
            recorder.finish()

    def test_oldest_recordings_go(self, tmp_path):
        for _ in range(3):  # a few at a time: it takes no more than it can write
            writer = TripWriter(tmp_path, ManualClock(), kept=4)
            self.hand_over(Recorder(demo_config(), writer.put), 2)
            writer.close()
        assert numbers(tmp_path) == [3, 4, 5, 6]

    def test_full_disk_is_told_and_the_next_one_is_written(self, tmp_path, monkeypatch, caplog):
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(trip_writer, "write_file", full)
            writer = TripWriter(tmp_path, ManualClock())
            self.hand_over(Recorder(demo_config(), writer.put), 1)
            writer.close()
        assert "No space left on device" in caplog.text
        writer = TripWriter(tmp_path, ManualClock())
        self.hand_over(Recorder(demo_config(), writer.put), 1)
        writer.close()
        assert numbers(tmp_path) == [1]
