"""The service as a separate process that starts at once, and a fake guard for it.

An interpreter with all imports takes 1 s of CPU time to start; here a server forks one that has them already. The
forked process runs `cabinet serve` from its first line, with its own files, and can be killed like any process. The
fake guard of the service's tests runs in this process, behind a real `guard.sock`.
"""

import multiprocessing
import os
import signal
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cabinet.clock import NS, SystemClock
from cabinet.model import EndReason
from cabinet_testing.fake_guard import FakeGuard
from cabinet_testing.real_cabinet import COMMANDS, Process, RealCabinet, _die_with_parent

OUTLETS = 10
POWER_MW = 250_000

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["cabinet.commands.serve", "cabinet.web.site", "campaigns.warm_service"])


class RealClock(SystemClock):
    """The system clock; `advance_ns` does nothing, because real time passes by itself."""

    def advance_ns(self, duration_ns: int) -> None:
        pass


class RealTimeGuard:
    """A fake guard in real time: it delivers energy to `plugged` outlets, and keeps events until acknowledged."""

    def __init__(self) -> None:
        self.guard = FakeGuard(RealClock(), OUTLETS)  # type: ignore[arg-type]  # moves by itself
        self.plugged = set(self.guard.outlets)
        self._second_ns = self.guard.clock.monotonic_ns()

    def unplug(self, outlet: int, reason: EndReason) -> None:
        with self.guard.lock:
            self.plugged.discard(outlet)
            if self.guard.outlets[outlet].session_id is not None:
                self.guard.end(outlet, reason)

    def turn(self) -> None:
        """Deliver the energy of a second once it has passed."""
        if self.guard.clock.monotonic_ns() - self._second_ns >= NS:
            self._second_ns += NS
            for outlet in self.plugged:
                self.guard.second(outlet, POWER_MW)


class _Forked:
    """The part of `subprocess.Popen` that `Process` uses."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()


class WarmProcess(Process):
    """A forked process of `cabinet serve`."""

    def __init__(self, name: str, words: list[str], folder: Path, config: Path) -> None:
        self.name = name
        self._log_path = folder / f"{name}.log"
        address = folder / f"{name}.notify"
        address.unlink(missing_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(address))
        process = _context.Process(
            target=_serve, args=(str(address), str(self._log_path), [*words, "--config", str(config)])
        )
        process.start()
        self.popen: Any = _Forked(process)
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise


class WarmCabinet(RealCabinet):
    """A cabinet with only its service as a process."""

    def start(self, *names: str) -> None:
        for name in names:
            self.processes[name] = WarmProcess(name, COMMANDS[name], self.folder, self.config)


def _serve(address: str, log_path: str, words: list[str]) -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["NOTIFY_SOCKET"] = address
    os.environ.pop("WATCHDOG_USEC", None)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from cabinet.main import main

    raise SystemExit(main(words))
