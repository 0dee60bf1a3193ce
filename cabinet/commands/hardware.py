"""Bus and pin factory of the configuration: the kernel's, or the simulator's.

The guard gets only these two calls and cannot distinguish real from simulated hardware. The configuration names one pin
factory, without fallback: gpiozero would otherwise try the next one with a warning.
"""

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gpiozero.pins import Factory

from cabinet.config.keys import Config
from cabinet.errors import HardwareError
from cabinet.hardware.bus import open_kernel_bus
from cabinet.hardware.failsafe import OpenBus, OpenPins
from cabinet.system import run_folder

T = TypeVar("T")

FACTORIES = {
    "lgpio": "gpiozero.pins.lgpio:LGPIOFactory",
    "rpigpio": "gpiozero.pins.rpigpio:RPiGPIOFactory",
    "native": "gpiozero.pins.native:NativeFactory",
}


def openers(config: Config) -> tuple[OpenBus, OpenPins]:
    """Return calls that open bus and pin factory of `config`; each raises HardwareError that names the absent part."""
    if config.simulated:
        from cabinet.sim.wire import WireBus, WirePinFactory

        path = Path(config.paths.run) / "sim.sock"
        return lambda: _simulated(WireBus, path), lambda: _simulated(WirePinFactory, path)
    return lambda: open_kernel_bus(config.hardware.bus), lambda: _named_factory(
        config.hardware.pin_factory, run_folder.guard_folder(Path(config.paths.run))
    )


def _simulated(connect: Callable[[Path], T], path: Path) -> T:
    try:
        return connect(path)
    except OSError as error:
        raise HardwareError(
            f"{path}: the simulator does not answer ({error.strerror}); start it: cabinet sim serve"
        ) from error


def _named_factory(name: str, run: Path) -> Factory:
    module, _, kind = FACTORIES[name].partition(":")
    try:
        if name == "lgpio":
            _import_lgpio(run)
        factory: Factory = getattr(importlib.import_module(module), kind)()
    except Exception as error:  # each factory fails in its own ways: no library, no chip, no permission
        raise HardwareError(f"hardware.pin_factory = {name!r} cannot be had: {error}") from error
    return factory


def _import_lgpio(run: Path) -> None:
    """Import the library with a writable working directory that no other process uses.

    On import, the library changes to $LG_WD and opens a pipe for edges, under a name that every other process would use
    as well. The open pipe needs no name, and this process returns to its previous directory.
    """
    before = os.getcwd()
    folder = _new_folder(run)
    if folder is not None:
        os.environ["LG_WD"] = folder
    try:
        importlib.import_module("lgpio")
    finally:
        os.chdir(before)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(run: Path) -> str | None:
    """Create a folder in `run`, which is in memory, not on a card that may be full or read-only; if that fails, in the
    system's temporary folder."""
    with contextlib.suppress(OSError):
        return tempfile.mkdtemp(prefix="lgpio-", dir=run)
    with contextlib.suppress(OSError):
        return tempfile.mkdtemp(prefix="lgpio-")
    return None  # the library then reports the error itself
