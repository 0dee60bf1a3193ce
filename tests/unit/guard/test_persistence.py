"""State that survives the guard: latches in three copies, counters in the keeper's memory."""

import ctypes
import errno
import os
import select
import signal
import time
from collections.abc import Callable

import pytest

from cabinet.clock import ManualClock
from cabinet.guard.counters import MEMORY_COPY_BYTES, Counters, MemoryCopy
from cabinet.guard.state_files import HANGS_NS, Latch, StateWriter
from cabinet.metering import OutletMeter
from cabinet.model import Fault
from cabinet.system import atomic_file
from cabinet.system.atomic_file import ReservedFile

WITHIN_S = 30  # only keeps a broken build from hanging


def wait_for(holds: Callable[[], bool]) -> bool:
    """Poll for a thread that has no event to wait on."""
    until_s = time.monotonic() + WITHIN_S
    while not (held := holds()) and time.monotonic() < until_s:
        select.select([], [], [], 0.005)
    return held


def kept(state_writer: StateWriter) -> dict[int, Latch]:
    """Return the latches that a guard reads at its start."""
    return state_writer.latches().copies[0]


LATCHES = {3: Latch(Fault.SHORT_CIRCUIT, {"peak_ma": 61_000}), 7: Latch(Fault.OUTLET_HOT, {"temperature_mc": 76_000})}


def test_latches_are_there_for_the_next_guard(tmp_path):
    state_writer = StateWriter(tmp_path)
    assert state_writer.latches() == ([{}], "", True)
    state_writer.save(LATCHES)
    state_writer.close()
    assert kept(StateWriter(tmp_path)) == LATCHES


def test_last_of_many_saves_is_what_stays(tmp_path):
    state_writer = StateWriter(tmp_path)
    for count in range(50):
        state_writer.save({1: Latch(Fault.OVERCURRENT, {"current_ma": count})})
    state_writer.close()
    assert kept(StateWriter(tmp_path)) == {1: Latch(Fault.OVERCURRENT, {"current_ma": 49})}


def test_files_of_different_names_do_not_wait_for_each_other_and_the_newest_is_kept(tmp_path):
    state_writer = StateWriter(tmp_path)
    for count in range(50):
        state_writer.write("upkeep.json", b"%d" % count, "nothing")
        state_writer.save({1: Latch(Fault.OVERCURRENT, {"current_ma": count})})
    state_writer.close()
    assert (tmp_path / "upkeep.json").read_bytes().rstrip() == b"49"
    assert kept(StateWriter(tmp_path)) == {1: Latch(Fault.OVERCURRENT, {"current_ma": 49})}


@pytest.mark.parametrize("content", [b"", b"{", b'{"1": {"fault": "gremlins", "why": {}}}', b"\xff"])
def test_damaged_latches_are_lost_with_the_name_of_the_file_and_kept_beside(tmp_path, content):
    (tmp_path / "latches.json").write_bytes(content)
    state_writer = StateWriter(tmp_path)
    recalled = state_writer.latches()
    assert (recalled.copies, recalled.lost) == ([{}], str(tmp_path / "latches.json"))
    assert str(tmp_path / "latches.json") in state_writer.damaged[0]
    assert (tmp_path / "latches.damaged").read_bytes() == content
    assert (tmp_path / "latches.json").read_bytes() == content, "until another content is written, it shows"


def test_latches_that_cannot_be_read_at_all_are_lost(tmp_path):
    (tmp_path / "latches.json").mkdir()
    assert StateWriter(tmp_path).latches().lost == str(tmp_path / "latches.json")


def test_disk_that_takes_nothing_does_not_stop_the_scribe(tmp_path, caplog):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    state_writer = StateWriter(blocked)
    state_writer.save(LATCHES)
    state_writer.close()
    assert "latched faults would be lost" in caplog.text


def test_what_a_full_disk_did_not_take_is_named_and_written_once_it_does(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    state_writer = StateWriter(blocked, retry_s=0.01)
    state_writer.save(LATCHES)
    assert wait_for(lambda: state_writer.unwritten == ["latches.json", "upkeep.json"])
    blocked.unlink()
    assert wait_for(lambda: state_writer.unwritten == [])
    state_writer.close()
    assert kept(StateWriter(blocked)) == LATCHES


def test_guard_that_ends_tries_once_more_what_the_disk_did_not_take(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    state_writer = StateWriter(blocked, retry_s=3600)
    state_writer.save(LATCHES)
    assert wait_for(lambda: state_writer.unwritten == ["latches.json", "upkeep.json"])
    blocked.unlink()
    state_writer.close()
    assert kept(StateWriter(blocked)) == LATCHES


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


# --- three copies ----------------------------------------------------------------------------------------------------


def scribe_of(tmp_path, memory: Counters, **more) -> StateWriter:
    return StateWriter(tmp_path / "state", tmp_path / "run", memory, **more)


COPIES = ("memory", "run", "disk")


def left_with(tmp_path, only: str, latches: dict[int, Latch]) -> StateWriter:
    """A new guard's state writer, after all but one of the copies were lost."""
    memory = Counters(1)
    first = scribe_of(tmp_path, memory)
    first.save(latches)
    first.close()
    for name, path in (("run", tmp_path / "run/latches.json"), ("disk", tmp_path / "state/latches.json")):
        if name != only:
            path.unlink()
    return scribe_of(tmp_path, memory if only == "memory" else Counters(1))


@pytest.mark.parametrize("only", COPIES)
def test_each_of_the_three_copies_alone_is_enough(tmp_path, only):
    recalled = left_with(tmp_path, only, LATCHES).latches()
    assert (recalled.copies[0], recalled.lost, recalled.complete) == (LATCHES, "", False)


def test_clearing_that_has_not_reached_every_copy_has_not_happened(tmp_path):
    memory = Counters(1)
    first = scribe_of(tmp_path, memory)
    first.save(LATCHES)
    first.close()
    second = scribe_of(tmp_path, memory)
    for of in (second._disk, second._run):  # killed before the thread comes to it
        of.clear()
    second._write_memory("latches.json", b"{}")
    assert kept(scribe_of(tmp_path, memory)) == LATCHES


def test_copies_that_disagree_latch_all_that_any_of_them_latches(tmp_path):
    memory = Counters(1)
    memory.latches.write(b'{"1": {"fault": "overcurrent", "why": {"current_ma": 5}}}')
    for folder, number in (("run", 2), ("state", 3)):
        (tmp_path / folder).mkdir()
        text = f'{{"{number}": {{"fault": "smoke", "why": {{}}}}, "1": {{"fault": "smoke", "why": {{}}}}}}'
        (tmp_path / folder / "latches.json").write_text(text)
    assert kept(scribe_of(tmp_path, memory)) == {
        1: Latch(Fault.OVERCURRENT, {"current_ma": 5}),
        2: Latch(Fault.SMOKE, {}),
        3: Latch(Fault.SMOKE, {}),
    }


def test_damaged_copy_is_made_good_from_a_newer_one_and_none_newer_is_a_loss(tmp_path):
    memory = Counters(1)
    state_writer = scribe_of(tmp_path, memory)
    state_writer.save(LATCHES)
    state_writer.close()
    (tmp_path / "state/latches.json").write_bytes(b"{")
    again = scribe_of(tmp_path, memory)
    recalled = again.latches()
    assert (recalled.copies[0], recalled.lost, recalled.complete) == (LATCHES, "", False)
    (tmp_path / "run/latches.json").write_bytes(b"{")
    assert scribe_of(tmp_path, Counters(1)).latches().lost == str(tmp_path / "run/latches.json")


def test_disk_that_is_full_or_read_only_is_known_before_it_is_needed_and_when_that_is_over(tmp_path):
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    state_writer = StateWriter(blocked, retry_s=0.01)
    assert (state_writer.writable, state_writer.unwritten) == (False, ["latches.json", "upkeep.json"])
    blocked.unlink()
    assert wait_for(lambda: state_writer.writable)
    assert state_writer.unwritten == []
    state_writer.close()


def test_room_is_kept_in_memory_and_on_disk_before_anything_is_latched(tmp_path):
    """If both are on one disk, as in a demonstration, the second copy is written on a full one too."""
    scribe_of(tmp_path, Counters(1)).close()
    reserved = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.spare") if path.stat().st_size}
    assert reserved == {"run/latches.spare", "run/upkeep.spare", "state/latches.spare", "state/upkeep.spare"}


def test_folder_in_memory_that_takes_nothing_hinders_no_start(tmp_path, caplog):
    (tmp_path / "run").write_text("a file where the folder should be")
    state_writer = scribe_of(tmp_path, Counters(1))
    state_writer.save(LATCHES)
    state_writer.close()
    assert caplog.text.count("run/latches.json: cannot be written") == 1
    assert kept(StateWriter(tmp_path / "state")) == LATCHES


def test_disk_that_does_not_answer_is_not_able(tmp_path, monkeypatch):
    """A dying card: the write neither fails nor returns."""
    reader, writer = os.pipe()
    state_writer = StateWriter(tmp_path, clock=(clock := ManualClock()))
    monkeypatch.setattr(ReservedFile, "write", lambda *_: os.read(reader, 1))
    state_writer.save(LATCHES)
    assert wait_for(lambda: state_writer._busy_since_ns is not None)
    writable = [state_writer.writable]
    clock.advance_ns(HANGS_NS + 1)
    writable.append(state_writer.writable)
    assert writable == [True, False]
    os.write(writer, b".")
    assert wait_for(lambda: state_writer.writable)
    state_writer.close()


# --- a file with its room reserved -----------------------------------------------------------------------------------

ROOM = 16_384


class PowerCut(BaseException):
    """Raised to end the program at this instruction."""


def cut_at(monkeypatch, turn: int) -> None:
    """The system call number `turn` of those that change anything does not happen, nor anything after it."""
    left = [turn]

    def counted(call):
        def run(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut
            return call(*arguments, **named)

        return run

    for name in ("open", "posix_fallocate", "ftruncate", "pwrite", "fsync"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(atomic_file, "_exchange", counted(atomic_file._exchange))


def trimmed(content: bytes | None) -> bytes | None:
    return None if content is None else content.rstrip()


@pytest.mark.parametrize("written_before", [0, 1, 2, 3])
def test_power_cut_at_any_instruction_leaves_the_old_content_or_the_new(tmp_path, monkeypatch, written_before):
    old = b"old" * 2000
    cuts = 0
    for turn in range(100):
        path = tmp_path / str(turn) / "state.json"
        for _ in range(written_before):
            ReservedFile(path, ROOM).write(old)
        with monkeypatch.context() as cutting:
            cut_at(cutting, turn)
            try:
                ReservedFile(path, ROOM).write(b"new" * 3000)
                done = True
            except PowerCut:
                cuts += 1
                done = False
        found = ReservedFile(path, ROOM).read()
        assert found is None or found.rstrip() in (old, b"new" * 3000)
        assert (found is None) <= (written_before == 0)
        ReservedFile(path, ROOM).write(b"later")
        assert trimmed(ReservedFile(path, ROOM).read()) == b"later"
        if done:
            assert trimmed(found) == b"new" * 3000
            break
    assert cuts > 5


def test_written_again_a_file_takes_no_room_that_it_has_not_already(tmp_path, monkeypatch):
    file = ReservedFile(tmp_path / "state.json", ROOM)
    file.write(b"first")
    file.write(b"second")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path.name: path.stat().st_blocks for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "posix_fallocate", full)
    for count in range(5):
        file.write(b"x" * (ROOM - 1 - count))
        assert trimmed(file.read()) == b"x" * (ROOM - 1 - count)
    assert {path.name: path.stat().st_blocks for path in tmp_path.iterdir()} == before
    with pytest.raises(OSError, match="No space"):
        file.write(b"x" * 2 * ROOM)
    assert trimmed(file.read()) == b"x" * (ROOM - 5), "as it was"


def test_room_is_reserved_before_anything_is_written_and_again_when_it_is_lost(tmp_path):
    file = ReservedFile(tmp_path / "state.json", ROOM)
    file.reserve()
    (spare,) = tmp_path.iterdir()
    assert spare.stat().st_blocks * 512 >= ROOM
    spare.unlink()
    file.reserve()
    assert spare.stat().st_size == ROOM


def test_file_of_an_earlier_version_without_reserve_is_read_and_replaced(tmp_path):
    (tmp_path / "state.json").write_bytes(b'{"1":2}')
    file = ReservedFile(tmp_path / "state.json", ROOM)
    assert file.read() == b'{"1":2}'
    file.write(b"{}")
    assert trimmed(file.read()) == b"{}"
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {ROOM}


def test_file_system_that_cannot_exchange_names_replaces(tmp_path, monkeypatch):
    class NoExchange:
        def renameat2(self, *_):
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(atomic_file, "_libc", NoExchange())
    file = ReservedFile(tmp_path / "state.json", ROOM)
    for content in (b"first", b"second", b"third"):
        file.write(content)
        assert trimmed(file.read()) == content


def test_memory_of_a_guard_that_is_killed_while_it_writes_holds_the_old_or_the_new():
    """However much of the other slot was filled, only the last word makes it the current one."""
    memory = MemoryCopy()
    assert memory.read() is None
    memory.write(b"first")
    memory.write(b"second")
    start = memory._offset(0)  # the slot that a third write would fill
    memory._memory[start : start + 100] = b"\xff" * 100
    assert memory.read() == b"second"
    memory.write(b"third")
    assert memory.read() == b"third"
    with pytest.raises(ValueError, match="more than"):
        memory.write(b"x" * MEMORY_COPY_BYTES)
    assert memory.read() == b"third"


def test_killed_guard_leaves_its_latches_to_the_next_although_no_disk_took_them(tmp_path):
    counters = Counters(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        counters.latches.write(b'{"3": {"fault": "short_circuit", "why": {}}}')
        os.write(writer, b".")
        signal.pause()
    assert os.read(reader, 1) == b"."
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert kept(scribe_of(tmp_path, counters)) == {3: Latch(Fault.SHORT_CIRCUIT, {})}
