"""Simulated cabinets prepared once for many tests; each test runs in a fork of the process, so on a copy of its own.

A fork copies a cabinet exactly, in milliseconds. `copy.deepcopy` cannot: drivers, protections and simulated chips hold
each other through closures. A fork does not copy threads and shares some memory and files, so the child replaces these,
and the parent restores the files of the cabinet when the child has ended.
"""

import contextlib
import gc
import mmap
import os
import queue
import shutil
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from cabinet.config import Config
from cabinet.guard.trip_writer import TripWriter
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

# A function to be called with the cabinet, its further arguments and its keywords.
Step = tuple[Callable[..., object], tuple[Any, ...], tuple[tuple[str, Any], ...]]


class PreparedCabinets:
    """Booted cabinets by configuration, seed and steps done since. `folder` holds the files of all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[object, ...], tuple[SimCabinet, Path]] = {}
        self._configs: list[Config] = []  # their identities are keys
        self._lent: list[tuple[SimCabinet, Path]] = []

    def lend(self, config: Config, seed: int, noise: bool, steps: tuple[Step, ...]) -> SimCabinet:
        """Return the cabinet after `steps`. It must only be used inside `in_child`."""
        key = (id(config), seed, noise, steps)
        made = self._made.get(key)
        if made is None:
            self._configs.append(config)
            made = self._made[key] = self._make(config, seed, noise, steps)
        self._lent.append(made)
        return made[0]

    def _make(self, config: Config, seed: int, noise: bool, steps: tuple[Step, ...]) -> tuple[SimCabinet, Path]:
        state = self._folder / f"cabinet-{len(self._made)}"
        sim = SimCabinet(state, config, seed, noise)
        for function, words, options in steps:
            function(sim, *words, **dict(options))
        sim._state_writer.close()  # its thread; the child starts another
        sim._trip_writer.close()
        kept = state.with_suffix(".kept")
        shutil.copytree(state, kept)
        return sim, kept

    def in_child(self, test: Callable[[], object], described: Callable[[], str]) -> str:
        """Run `test` in a fork on its own copy of the lent cabinets. Return "", or the failure as `described`."""
        lent, self._lent = self._lent, []
        sys.stdout.flush()
        sys.stderr.flush()
        readable, writable = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner: the child uses none
            child = os.fork()
        if child == 0:
            os.close(readable)
            _run_and_exit(writable, lent, test, described)
        os.close(writable)
        with os.fdopen(readable, encoding="utf-8") as answer:
            failure = answer.read()
        _, status = os.waitpid(child, 0)
        for sim, kept in lent:
            shutil.rmtree(sim.state, ignore_errors=True)  # a test may have removed it
            shutil.copytree(kept, sim.state)
        return failure if os.waitstatus_to_exitcode(status) == 0 else failure or f"the process ended with {status}"

    def close(self) -> None:
        for sim, _ in self._made.values():
            sim.close()


def _run_and_exit(
    writable: int, lent: list[tuple[SimCabinet, Path]], test: Callable[[], object], described: Callable[[], str]
) -> NoReturn:
    gc.freeze()  # a collection would touch, and so copy, every object of the parent
    failure = ""
    try:
        for sim, _ in lent:
            _own(sim)
        test()
    except BaseException:
        try:
            failure = described()
        except BaseException:
            failure = traceback.format_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    with os.fdopen(writable, "w", encoding="utf-8", errors="replace") as answer:
        answer.write(failure)
    os._exit(0)  # nothing of the test runner ends here


def _own(sim: SimCabinet) -> None:
    """Give the child its own threads, memory of the keeper and wake-up of the alert lines."""
    counters, writer, lines = sim.counters, sim._state_writer, sim._lines
    assert lines is not None
    for part in (counters, counters.latches, counters.maintenance_state, counters.recent_trips):
        shared = part._memory
        part._memory = mmap.mmap(-1, len(shared))
        part._memory[:] = shared[:]
    own = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    os.dup2(own, lines.wake_fd, inheritable=False)
    os.close(own)
    writer._queue = queue.SimpleQueue()
    writer._busy_since_ns = None  # or the disk would seem to hang since the parent closed it
    writer._thread = threading.Thread(target=writer._write_all, name="state-writer", daemon=True)
    writer._thread.start()
    sim._trip_writer = TripWriter(sim.trips, sim.clock)


@contextlib.contextmanager
def prepared_cabinets(folder: Path) -> Iterator[PreparedCabinets]:
    cabinets = PreparedCabinets(folder)
    try:
        yield cabinets
    finally:
        cabinets.close()


class Prepared:
    """The cabinets of one test, prepared by its marks `after(function, *words, **options)`, the first mark first."""

    def __init__(self, cabinets: PreparedCabinets, steps: tuple[Step, ...]) -> None:
        self._cabinets = cabinets
        self._steps = steps

    def __call__(self, config: Config | None = None, seed: int = 1, noise: bool = True) -> SimCabinet:
        return self._cabinets.lend(config or demo_config(), seed, noise, self._steps)
