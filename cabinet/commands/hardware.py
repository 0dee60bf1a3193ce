"""Where the configuration's bus and pin factory come from: the kernel's, or the simulator's.

The guard is handed these two calls and nothing else, so it cannot tell which it got. One pin factory is named and
there is no fallback: gpiozero would otherwise try the next one with a warning.
"""

import atexit
import contextlib
import importlib
import os
import shutil
import tempfile
from pathlib import Path

from gpiozero.pins import Factory

from cabinet.chips.bus import Bus, open_kernel_bus
from cabinet.config.keys import Config
from cabinet.errors import HardwareError
from cabinet.guard.loop import OpenBus, OpenPins

FACTORIES = {
    "lgpio": "gpiozero.pins.lgpio:LGPIOFactory",
    "rpigpio": "gpiozero.pins.rpigpio:RPiGPIOFactory",
    "native": "gpiozero.pins.native:NativeFactory",
}


def openers(config: Config) -> tuple[OpenBus, OpenPins]:
    """Calls that open the bus and the pin factory of `config`; each raises HardwareError saying what is absent."""
    if config.simulated:
        from cabinet.sim.wire import WireBus, WirePinFactory

        path = Path(config.paths.run) / "sim.sock"

        def open_sim_bus() -> Bus:
            try:
                return WireBus(path)
            except OSError as error:
                raise HardwareError(
                    f"{path}: the simulator does not answer ({error.strerror}); start it: cabinet sim serve"
                ) from error

        def open_sim_pins() -> Factory:
            try:
                return WirePinFactory(path)
            except OSError as error:
                raise HardwareError(
                    f"{path}: the simulator does not answer ({error.strerror}); start it: cabinet sim serve"
                ) from error

        return open_sim_bus, open_sim_pins
    return lambda: open_kernel_bus(config.hardware.bus), lambda: _named_factory(
        config.hardware.pin_factory, config.paths.run
    )


def _named_factory(name: str, run: str) -> Factory:
    if name == "lgpio":
        _give_lgpio_a_folder(run)
    module, _, kind = FACTORIES[name].partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), kind)()
    except Exception as error:  # each factory has its own ways to fail: no library, no chip, no permission
        raise HardwareError(f"hardware.pin_factory = {name!r} cannot be had: {error}") from error
    return factory


def _give_lgpio_a_folder(run: str) -> None:
    """Of this process alone: the library puts a pipe for edges into its working directory as soon as it is imported,
    under a name that any other process would use as well, and cannot be imported where it may not write.
    """
    for parent in (run, tempfile.gettempdir()):
        with contextlib.suppress(OSError):  # the library then says itself what it cannot do
            folder = tempfile.mkdtemp(prefix="lgpio-", dir=parent)
            os.environ["LG_WD"] = folder
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return
