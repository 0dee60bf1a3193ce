"""Child processes of `cabinet run`, with small real ones."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cabinet.clock import SystemClock
from cabinet.demo import children
from cabinet.demo.children import ChildError, ChildGroup, ChildPlan
from cabinet.errors import CabinetError

READY = "from cabinet.system.sd_notify import Notifier; Notifier().ready('up')"
WAIT = "import signal; signal.pause()"
UP = f"{READY}; {WAIT}"


def plan(name: str, code: str, ready_within_s: float = 20, stop_within_s: float = 20) -> ChildPlan:
    return ChildPlan(name, [sys.executable, "-c", code], ready_within_s, stop_within_s)


class Told:
    """The printed lines, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, who: str, line: str) -> None:
        self.lines.append(f"{who}: {line}")
        self._more.set()

    async def until(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.lines:
                self._more.clear()
                await self._more.wait()


def run(
    plans: list[ChildPlan],
    what: Callable[[ChildGroup, Told], Coroutine[Any, Any, None]],
    before_restart: Callable[[], None] = lambda: None,
) -> list[str]:
    """Do `what` with a group, stop it, and return every line that was said."""

    async def life() -> list[str]:
        told = Told()
        group = ChildGroup(plans, told, SystemClock(), before_restart)
        try:
            await what(group, told)
        finally:
            await group.stop()
        return told.lines

    return asyncio.run(life())


@pytest.fixture(autouse=True)
def quick_restart(monkeypatch):
    monkeypatch.setattr(children, "MIN_BACK_OFF_S", 0.01)


def test_each_child_starts_when_the_one_before_is_ready_and_stops_in_reverse(tmp_path):
    log = tmp_path / "log"
    code = """
import signal, sys
from cabinet.system.sd_notify import Notifier
def note(what):
    with open({log!r}, "a") as file:
        file.write(what + " {name}\\n")
signal.signal(signal.SIGTERM, lambda *_: (note("stop"), sys.exit(0)))
note("start")
Notifier().ready("up")
signal.pause()
"""

    async def start(group: ChildGroup, told: Told) -> None:
        await group.start()

    said = run([plan(name, code.format(log=str(log), name=name)) for name in ("one", "two", "three")], start)
    assert log.read_text().splitlines() == [
        *(f"start {name}" for name in ("one", "two", "three")),
        *(f"stop {name}" for name in ("three", "two", "one")),
    ]
    assert said == []


def test_child_that_ends_before_it_is_ready_is_an_error_after_its_last_words():
    async def start(group: ChildGroup, told: Told) -> None:
        with pytest.raises(ChildError, match=r"^bad ended with status 3 before it was ready$"):
            await group.start()

    said = run([plan("good", UP), plan("bad", "import sys; print('no such bus'); sys.exit(3)")], start)
    assert said == ["bad: no such bus"]


def test_child_that_is_never_ready_is_killed():
    async def start(group: ChildGroup, told: Told) -> None:
        with pytest.raises(ChildError, match=r"^slow was not ready within 0\.2 s$"):
            await group.start()

    assert run([plan("slow", WAIT, ready_within_s=0.2)], start) == []


def test_killed_child_is_started_again_and_that_is_said():
    async def kill(group: ChildGroup, told: Told) -> None:
        await group.start()
        victim = group._children[1]
        before = victim.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await told.until("run: two is back")
        assert victim.pid != before
        assert group._children[0].pid is not None

    said = run([plan("one", UP), plan("two", UP)], kill)
    assert said == ["run: two was killed by SIGKILL: starting it again in 0.01 s", "run: two is back"]


def test_child_that_keeps_dying_is_started_later_and_later(monkeypatch):
    async def wait(group: ChildGroup, told: Told) -> None:
        await group.start()
        await told.until("run: sick ended with status 1: starting it again in 0.04 s")

    code = f"{READY}; raise SystemExit(1)"
    said = run([plan("sick", code)], wait)
    waits = [line.rsplit(" ", 2)[1] for line in said if "starting it again" in line]
    assert waits[:3] == ["0.01", "0.02", "0.04"]


def test_error_before_a_restart_ends_the_run():
    def broken() -> None:
        raise CabinetError("cabinet.toml: site: is missing")

    async def kill(group: ChildGroup, told: Told) -> None:
        await group.start()
        assert group._children[0].pid is not None
        os.kill(group._children[0].pid, signal.SIGKILL)
        with pytest.raises(CabinetError, match="site: is missing"):
            await group.failed()

    assert run([plan("one", UP)], kill, broken) == []


def test_child_that_ignores_sigterm_is_killed_with_everything_it_started(tmp_path):
    pid_file = tmp_path / "grandchild"
    code = f"""
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if (pid := os.fork()) == 0:
    signal.pause()
open({str(pid_file)!r}, "w").write(str(pid))
{READY}
signal.pause()
"""

    async def start(group: ChildGroup, told: Told) -> None:
        await group.start()

    said = run([plan("deaf", code, stop_within_s=0.2)], start)
    assert said == ["run: deaf did not stop within 0.2 s: killed"]
    assert state_of(int(pid_file.read_text())) in (None, "Z")


def state_of(pid: int) -> str | None:
    """The process's state letter in /proc, or None where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def test_what_a_child_prints_comes_line_by_line_under_its_name():
    async def start(group: ChildGroup, told: Told) -> None:
        await group.start()
        await told.until("one: last")

    prints = "import os; os.write(1, b'first\\n\\n  second\\n' + b'\\xff' * 3 + b'\\nlast\\n')"
    assert run([plan("one", f"{prints}; {UP}")], start) == ["one: first", "one:   second", "one: ���", "one: last"]


def test_endless_line_of_a_child_is_survived(monkeypatch):
    monkeypatch.setattr(children, "MAX_LINE", 1000)

    async def start(group: ChildGroup, told: Told) -> None:
        await group.start()
        await told.until("one: last")

    run([plan("one", f"print('x' * 100_000); print('last'); {READY}; {WAIT}")], start)


def test_children_die_with_their_parent(tmp_path):
    """SIGKILL of `cabinet run` leaves nothing behind."""
    code = f"""
import asyncio, sys
from cabinet.clock import SystemClock
from cabinet.demo.children import ChildGroup, ChildPlan
async def main():
    group = ChildGroup([ChildPlan("one", [sys.executable, "-c", {UP!r}])], print, SystemClock(), lambda: None)
    await group.start()
    print(group._children[0].pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""

    async def life() -> None:
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        assert parent.stdout is not None
        child = int(await parent.stdout.readline())
        waiting = os.pidfd_open(child)
        try:
            parent.kill()
            await parent.wait()
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(waiting, ended.set)
            async with asyncio.timeout(20):
                await ended.wait()
            asyncio.get_running_loop().remove_reader(waiting)
        finally:
            os.close(waiting)

    asyncio.run(life())
