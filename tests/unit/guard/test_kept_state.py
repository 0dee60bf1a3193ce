"""A fault that staff must clear is never forgotten: not by a full disk, a killed guard or keeper, or a damaged file."""

import errno
import shutil

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.counters import Counters
from cabinet.guard.maintenance_file import UNREADABLE_NOTE
from cabinet.link.protocol import Done, Refusal, SetContactorLockout, StartTestCharge, TakeOutOfService
from cabinet.model import EventKind, Fault
from cabinet.system.atomic_file import ReservedFile
from tests.desk import Desk
from tests.unit.guard.charges import charging

WHO = "console:tech"


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


class Disk:
    """Whether the state folder takes anything; the folder in memory does always."""

    def __init__(self, desk: Desk, monkeypatch) -> None:
        self.full = False
        self.run_full = False
        for name in ("write", "reserve"):
            monkeypatch.setattr(ReservedFile, name, self._limited(desk, getattr(ReservedFile, name)))

    def _limited(self, desk: Desk, call):
        def limited(file, *content):
            full = self.full if file.path.parent == desk.state else self.run_full
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            call(file, *content)

        return limited


@pytest.fixture
def disk(desk, monkeypatch) -> Disk:
    return Disk(desk, monkeypatch)


def ask(desk: Desk, kind, *words, **more) -> str | None:
    answer = desk.guard.handle(kind(1, *words, WHO, **more))
    return answer.code if isinstance(answer, Refusal) else None


def short(desk: Desk, outlet: int) -> None:
    charging(desk, outlet)
    desk.world.fault(outlet, "short", amps=60.0)
    assert desk.run(NS, until=lambda: desk.outlet(outlet).latched)
    desk.world.clear(outlet)


def look_at_the_disk(desk: Desk) -> None:
    """As the thread does every five seconds."""
    desk._state_writer._check_files()


@pytest.mark.parametrize("killed", ["guard", "guard and keeper"])
def test_short_that_tripped_while_the_disk_was_full_is_not_closed_again(desk, disk, killed):
    disk.full = True
    short(desk, 3)
    desk.close()  # killed: nothing more reaches a file
    if killed != "guard":
        desk.counters = Counters(len(desk.config.outlet))
    disk.full = False
    desk.boot()
    assert desk.start(3).code == "fault_latched"
    assert (desk.outlet(3).fault, desk.outlet(3).latched) == (Fault.SHORT_CIRCUIT, True)
    desk.close()
    shutil.rmtree(desk.state / "run")
    desk.counters = Counters(len(desk.config.outlet))
    desk.boot()
    assert desk.start(3).code == "fault_latched", "and, since there is room, not after a power cut either"


def test_short_is_in_the_keepers_memory_whatever_the_files_take(desk, disk):
    """As for a guard that is killed before its thread comes to any file."""
    disk.full = disk.run_full = True
    short(desk, 3)
    desk.close()
    disk.full = disk.run_full = False
    desk.boot()
    assert desk.start(3).code == "fault_latched"


def test_full_disk_takes_a_latch_all_the_same(desk, monkeypatch):
    """Its room was reserved when the guard started: after a power cut the disk is the only copy."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cabinet.system.atomic_file.os.posix_fallocate", full)
    short(desk, 3)
    desk.close()
    monkeypatch.undo()
    shutil.rmtree(desk.state / "run")
    desk.counters = Counters(len(desk.config.outlet))
    desk.boot()
    assert desk.start(3).code == "fault_latched"


def test_guard_that_cannot_write_its_state_closes_nothing_and_serves_again_by_itself(desk, disk):
    charging(desk, 5)
    disk.full = True
    look_at_the_disk(desk)
    assert {state.refusal for state in desk.guard.snapshot().outlets} == {"state_unwritable", "outlet_busy"}
    assert desk.start(3).code == "state_unwritable"
    assert ask(desk, StartTestCharge, 4, 60) == "state_unwritable"
    assert desk.guard.maintenance_state().unwritten == ["latches.json", "upkeep.json"]
    desk.run(NS)
    assert desk.outlet(5).closed, "what charges goes on: it is watched as before"
    disk.full = False
    look_at_the_disk(desk)
    assert desk.outlet(3).refusal is None
    assert isinstance(desk.start(3), Done)
    assert desk.run(NS, until=lambda: desk.outlet(3).closed)


def test_disk_that_fails_between_a_start_and_its_closing_stops_the_closing(desk, disk):
    charging(desk, 5)
    assert isinstance(desk.start(6), Done)
    assert isinstance(desk.start(3), Done)
    assert not desk.outlet(3).closed
    disk.full = True
    look_at_the_disk(desk)
    desk.run(NS)
    assert not desk.outlet(3).closed
    assert [event.kind for event in desk.events(3)] == [EventKind.ENDED]


def test_damaged_latches_leave_everything_off_until_staff_have_seen_to_each_outlet(desk):
    short(desk, 3)
    desk.close()
    desk.counters = Counters(len(desk.config.outlet))
    shutil.rmtree(desk.state / "run")
    (desk.state / "latches.json").write_bytes(b"{ damaged")
    for _ in range(2):  # and the next guard, which finds a file that is whole
        desk.boot()
        desk.run(3 * NS)
        assert not desk.guard.snapshot().contactor_closed
        assert {state.note for state in desk.guard.snapshot().outlets} == {UNREADABLE_NOTE}
        assert {state.refusal for state in desk.guard.snapshot().outlets} == {"contactor_open"}
        assert desk.guard.maintenance_state().contactor_held.who == "guard"
        assert not desk.world.contactor.closed
    assert (desk.state / "latches.damaged").read_bytes() == b"{ damaged"
    assert ask(desk, SetContactorLockout, False) is None
    desk.run(5 * NS, until=lambda: desk.outlet(4).refusal == "out_of_service")
    assert {state.refusal for state in desk.guard.snapshot().outlets} == {"out_of_service"}
    assert ask(desk, TakeOutOfService, 4, None) is None
    assert desk.outlet(4).refusal is None
    assert desk.outlet(3).refusal == "out_of_service"


def test_damaged_latches_are_named_while_staff_look(desk):
    desk.close()
    (desk.state / "latches.json").write_bytes(b"{ damaged")
    desk.boot()
    assert str(desk.state / "latches.json") in desk.guard.maintenance_state().damaged


def test_cleared_latch_is_cleared_in_every_copy(desk):
    short(desk, 3)
    desk.clear(3)
    for keep in ("memory", "run", "disk"):
        desk.close()
        if keep != "memory":
            desk.counters = Counters(len(desk.config.outlet))
        if keep == "disk":
            shutil.rmtree(desk.state / "run")
        desk.boot()
        assert desk.outlet(3).refusal is None, keep


@pytest.mark.parametrize("killed", ["guard", "guard and keeper"])
def test_outlet_taken_out_of_service_while_the_disk_was_full_stays_out(desk, disk, killed):
    disk.full = True
    assert ask(desk, TakeOutOfService, 4, "plug loose") is None
    assert ask(desk, SetContactorLockout, True) is None
    desk.close()  # killed: nothing more reaches a file
    if killed != "guard":
        desk.counters = Counters(len(desk.config.outlet))
    disk.full = False
    desk.boot()
    assert desk.outlet(4).note == "plug loose"
    desk.run(3 * NS)
    assert not desk.guard.snapshot().contactor_closed


def test_cabinet_wide_latch_outlives_the_guard_although_the_disk_was_full(desk, disk):
    disk.full = True
    desk.world.fault(None, "smoke")
    assert desk.run(NS, until=lambda: desk.guard.snapshot().latched)
    desk.world.clear(None)
    desk.close()
    disk.full = False
    desk.boot()
    assert (desk.guard.snapshot().fault, desk.guard.snapshot().latched) == (Fault.SMOKE, True)
    assert desk.start(1).code == "cabinet_fault"


def test_trips_before_the_guard_was_killed_count_towards_a_reclose_storm(desk):
    for turn in range(3):
        charging(desk, 3)
        desk.world.fault(3, "nack", chip="meter")
        assert desk.run(NS, until=lambda: not desk.outlet(3).closed)
        if turn < 2:
            desk.world.clear(3)
            desk.world.unplug(3)
            desk.run(200 * MS)
            desk.boot()
    desk.run(200 * MS)
    assert (desk.outlet(3).fault, desk.outlet(3).latched) == (Fault.RECLOSE_STORM, True)
