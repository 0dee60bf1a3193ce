"""A fault that staff must clear is never forgotten: not by a full disk, a killed guard or keeper, or a damaged file."""

import errno
import shutil

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.counters import Counters
from cabinet.guard.maintenance_file import UNREADABLE_NOTE
from cabinet.link.guard_protocol import Done, Refusal, SetContactorLockout, StartTestCharge, TakeOutOfService
from cabinet.model import EventKind, Fault
from cabinet.system.atomic_file import ReservedFile
from cabinet_testing.sim_cabinet import SimCabinet
from cabinet_testing.sim_charges import charging

WHO = "console:tech"


@pytest.fixture
def sim(tmp_path):
    sim = SimCabinet(tmp_path)
    yield sim
    sim.close()


class Disk:
    """State folder that can be made unwritable; the folder in memory always takes writes."""

    def __init__(self, sim: SimCabinet, monkeypatch) -> None:
        self.full = False
        self.run_full = False
        for name in ("write", "reserve"):
            monkeypatch.setattr(ReservedFile, name, self._limited(sim, getattr(ReservedFile, name)))

    def _limited(self, sim: SimCabinet, call):
        def limited(file, *content):
            full = self.full if file.path.parent == sim.state else self.run_full
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            call(file, *content)

        return limited


@pytest.fixture
def disk(sim, monkeypatch) -> Disk:
    return Disk(sim, monkeypatch)


def ask(sim: SimCabinet, kind, *words, **more) -> str | None:
    answer = sim.guard.handle(kind(1, *words, WHO, **more))
    return answer.code if isinstance(answer, Refusal) else None


def short(sim: SimCabinet, outlet: int) -> None:
    charging(sim, outlet)
    sim.world.fault(outlet, "short", amps=60.0)
    assert sim.run(NS, until=lambda: sim.outlet(outlet).latched)
    sim.world.clear(outlet)


def look_at_the_disk(sim: SimCabinet) -> None:
    """Check the files, as the thread does every five seconds."""
    sim._state_writer._check_files()


@pytest.mark.parametrize("killed", ["guard", "guard and keeper"])
def test_short_that_tripped_while_the_disk_was_full_is_not_closed_again(sim, disk, killed):
    disk.full = True
    short(sim, 3)
    sim.close()  # killed: nothing more reaches a file
    if killed != "guard":
        sim.counters = Counters(len(sim.config.outlet))
    disk.full = False
    sim.boot()
    assert sim.start(3).code == "fault_latched"
    assert (sim.outlet(3).fault, sim.outlet(3).latched) == (Fault.SHORT_CIRCUIT, True)
    sim.close()
    shutil.rmtree(sim.state / "run")
    sim.counters = Counters(len(sim.config.outlet))
    sim.boot()
    assert sim.start(3).code == "fault_latched", "and, since there is room, not after a power cut either"


def test_short_is_in_the_keepers_memory_whatever_the_files_take(sim, disk):
    """The guard is killed before its thread writes any file."""
    disk.full = disk.run_full = True
    short(sim, 3)
    sim.close()
    disk.full = disk.run_full = False
    sim.boot()
    assert sim.start(3).code == "fault_latched"


def test_full_disk_takes_a_latch_all_the_same(sim, monkeypatch):
    """Its room was reserved when the guard started: after a power cut the disk is the only copy."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cabinet.system.atomic_file.os.posix_fallocate", full)
    short(sim, 3)
    sim.close()
    monkeypatch.undo()
    shutil.rmtree(sim.state / "run")
    sim.counters = Counters(len(sim.config.outlet))
    sim.boot()
    assert sim.start(3).code == "fault_latched"


def test_guard_that_cannot_write_its_state_closes_nothing_and_serves_again_by_itself(sim, disk):
    charging(sim, 5)
    disk.full = True
    look_at_the_disk(sim)
    assert {state.refusal for state in sim.guard.snapshot().outlets} == {"state_unwritable", "outlet_busy"}
    assert sim.start(3).code == "state_unwritable"
    assert ask(sim, StartTestCharge, 4, 60) == "state_unwritable"
    assert sim.guard.maintenance_state().unwritten == ["latches.json", "upkeep.json"]
    sim.run(NS)
    assert sim.outlet(5).closed, "what charges goes on: it is watched as before"
    disk.full = False
    look_at_the_disk(sim)
    assert sim.outlet(3).refusal is None
    assert isinstance(sim.start(3), Done)
    assert sim.run(NS, until=lambda: sim.outlet(3).closed)


def test_disk_that_fails_between_a_start_and_its_closing_stops_the_closing(sim, disk):
    charging(sim, 5)
    assert isinstance(sim.start(6), Done)
    assert isinstance(sim.start(3), Done)
    assert not sim.outlet(3).closed
    disk.full = True
    look_at_the_disk(sim)
    sim.run(NS)
    assert not sim.outlet(3).closed
    assert [event.kind for event in sim.events(3)] == [EventKind.ENDED]


def test_damaged_latches_leave_everything_off_until_staff_have_seen_to_each_outlet(sim):
    short(sim, 3)
    sim.close()
    sim.counters = Counters(len(sim.config.outlet))
    shutil.rmtree(sim.state / "run")
    (sim.state / "latches.json").write_bytes(b"{ damaged")
    for _ in range(2):  # and the next guard, which finds a file that is whole
        sim.boot()
        sim.run(3 * NS)
        assert not sim.guard.snapshot().contactor_closed
        assert {state.note for state in sim.guard.snapshot().outlets} == {UNREADABLE_NOTE}
        assert {state.refusal for state in sim.guard.snapshot().outlets} == {"contactor_open"}
        assert sim.guard.maintenance_state().contactor_held.who == "guard"
        assert not sim.world.contactor.closed
    assert (sim.state / "latches.damaged").read_bytes() == b"{ damaged"
    assert ask(sim, SetContactorLockout, False) is None
    sim.run(5 * NS, until=lambda: sim.outlet(4).refusal == "out_of_service")
    assert {state.refusal for state in sim.guard.snapshot().outlets} == {"out_of_service"}
    assert ask(sim, TakeOutOfService, 4, None) is None
    assert sim.outlet(4).refusal is None
    assert sim.outlet(3).refusal == "out_of_service"


def test_damaged_latches_are_named_while_staff_look(sim):
    sim.close()
    (sim.state / "latches.json").write_bytes(b"{ damaged")
    sim.boot()
    assert str(sim.state / "latches.json") in sim.guard.maintenance_state().damaged


def test_cleared_latch_is_cleared_in_every_copy(sim):
    short(sim, 3)
    sim.clear(3)
    for keep in ("memory", "run", "disk"):
        sim.close()
        if keep != "memory":
            sim.counters = Counters(len(sim.config.outlet))
        if keep == "disk":
            shutil.rmtree(sim.state / "run")
        sim.boot()
        assert sim.outlet(3).refusal is None, keep


@pytest.mark.parametrize("killed", ["guard", "guard and keeper"])
def test_outlet_taken_out_of_service_while_the_disk_was_full_stays_out(sim, disk, killed):
    disk.full = True
    assert ask(sim, TakeOutOfService, 4, "plug loose") is None
    assert ask(sim, SetContactorLockout, True) is None
    sim.close()  # killed: nothing more reaches a file
    if killed != "guard":
        sim.counters = Counters(len(sim.config.outlet))
    disk.full = False
    sim.boot()
    assert sim.outlet(4).note == "plug loose"
    sim.run(3 * NS)
    assert not sim.guard.snapshot().contactor_closed


def test_cabinet_wide_latch_outlives_the_guard_although_the_disk_was_full(sim, disk):
    disk.full = True
    sim.world.fault(None, "smoke")
    assert sim.run(NS, until=lambda: sim.guard.snapshot().latched)
    sim.world.clear(None)
    sim.close()
    disk.full = False
    sim.boot()
    assert (sim.guard.snapshot().fault, sim.guard.snapshot().latched) == (Fault.SMOKE, True)
    assert sim.start(1).code == "cabinet_fault"


def test_trips_before_the_guard_was_killed_count_towards_a_reclose_storm(sim):
    for turn in range(3):
        charging(sim, 3)
        sim.world.fault(3, "nack", chip="meter")
        assert sim.run(NS, until=lambda: not sim.outlet(3).closed)
        if turn < 2:
            sim.world.clear(3)
            sim.world.unplug(3)
            sim.run(200 * MS)
            sim.boot()
    sim.run(200 * MS)
    assert (sim.outlet(3).fault, sim.outlet(3).latched) == (Fault.RECLOSE_STORM, True)
