"""Child processes: started one after the other, each awaited until it sends READY=1, stopped in reverse order.

A child that dies by itself is started again, with a longer delay each time, and this is reported. Each child leads a
session of its own, so a Ctrl-C in the terminal reaches only the parent, which decides the order of stopping; if the
parent is killed, the kernel sends every child SIGTERM.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Sequence

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError

MIN_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 30.0
SETTLED_AFTER_S = 60.0  # after running this long, a child restarts with the shortest back-off
MAX_LINE = 64 * 1024  # bytes of a child's output held at once

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None)

Say = Callable[[str, str], None]  # the source's name, one line


class ChildError(CabinetError):
    """A child process did not become ready."""


class ChildPlan(msgspec.Struct, frozen=True):
    """Start of a child: its command, and the time limits for becoming ready and for stopping."""

    name: str
    command: Sequence[str]
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0


class Child:
    """One process and the socket for its status messages (sd_notify(3), see `cabinet.system.sd_notify`)."""

    def __init__(self, plan: ChildPlan, say: Say) -> None:
        self.plan = plan
        self._say = say
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._address = f"@cabinet-run-{os.getpid()}-{id(self):x}-{plan.name}"
        self._notices.bind("\0" + self._address[1:])
        asyncio.get_running_loop().add_reader(self._notices, self._hear)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the child and await readiness. Raises ChildError if it ended early, or took too long and was killed."""
        environment = {key: value for key, value in os.environ.items() if key not in ("WATCHDOG_USEC", "WATCHDOG_PID")}
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self.plan.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAX_LINE,
            env={**environment, "NOTIFY_SOCKET": self._address, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._output = asyncio.create_task(self._pass_on(self._process))
        ready, ended = asyncio.create_task(self._ready.wait()), asyncio.create_task(self.ended())
        try:
            await asyncio.wait({ready, ended}, timeout=self.plan.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ChildError(f"{self.plan.name} {exit_status_text(ended.result())} before it was ready")
            if not ready.done():
                self._kill()
                raise ChildError(f"{self.plan.name} was not ready within {self.plan.ready_within_s:g} s")
        finally:
            ready.cancel()
            ended.cancel()

    async def ended(self) -> int:
        """Wait for the end; return the exit status, negative for a signal."""
        assert self._process is not None
        assert self._output is not None
        status = await self._process.wait()
        await asyncio.wait({self._output}, timeout=0.5)  # a grandchild may hold the pipe open for longer
        return status

    async def stop(self) -> None:
        """Send SIGTERM and wait; if the child does not stop, send SIGKILL to its whole session. Idempotent."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(self.plan.stop_within_s):
                    await self.ended()
            except TimeoutError:
                self._say("run", f"{self.plan.name} did not stop within {self.plan.stop_within_s:g} s: killed")
                self._kill()
                await self.ended()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._notices)
        self._notices.close()

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _hear(self) -> None:
        if "READY=1" in self._notices.recv(4096).decode(errors="replace").splitlines():
            self._ready.set()

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        """Report the child's output, line by line, under its name."""
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than MAX_LINE: the reader drops that piece
                continue
            if not line:
                return
            if text := line.decode(errors="replace").rstrip():
                self._say(self.plan.name, text)


class ChildGroup:
    """All children of one run."""

    def __init__(self, plans: Sequence[ChildPlan], say: Say, clock: Clock, before_restart: Callable[[], None]) -> None:
        """Create the group. `before_restart` raises CabinetError if a restart is pointless: that ends the run."""
        self._children = [Child(plan, say) for plan in plans]
        self._say = say
        self._clock = clock
        self._before_restart = before_restart
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all children in order, each when the previous one is ready. Raises ChildError; then call `stop`."""
        for child in self._children:
            await child.start()
            self._keepers.append(asyncio.create_task(self._keep(child)))

    async def failed(self) -> None:
        """Wait without ever returning; raises the CabinetError that makes the run pointless."""
        await asyncio.gather(*self._keepers)

    async def stop(self) -> None:
        """Stop the children, the last started first. Attempts all."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for child in reversed(self._children):
            await child.stop()
            child.close()

    async def _keep(self, child: Child) -> None:
        back_off_s = MIN_BACK_OFF_S
        while True:
            started_ns = self._clock.monotonic_ns()
            what = exit_status_text(await child.ended())
            if self._clock.monotonic_ns() - started_ns > SETTLED_AFTER_S * NS:
                back_off_s = MIN_BACK_OFF_S
            self._before_restart()
            self._say("run", f"{child.plan.name} {what}: starting it again in {back_off_s:g} s")
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, MAX_BACK_OFF_S)
            with contextlib.suppress(ChildError):  # `ended` then returns at once with the status
                await child.start()
                self._say("run", f"{child.plan.name} is back")


def exit_status_text(status: int) -> str:
    """Return an exit status in words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
