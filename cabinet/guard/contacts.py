"""The cabinet's own lines: alarm contacts, the siren, the residual-current monitor's test input."""

from typing import Any

from gpiozero import DigitalInputDevice, OutputDevice
from gpiozero.pins import Factory

from cabinet.config.keys import HardwareSection

ALARMS = ("smoke", "water", "residual")


class Contacts:
    """Lines of the cabinet. Alarm contacts are closed to ground when all is well: a cut wire alarms as well.

    One line is read a tick: with three contacts, each is read every 9 ms.
    """

    def __init__(self, hardware: HardwareSection, pins: Factory) -> None:
        self._inputs = [
            (name, DigitalInputDevice(pin, pull_up=True, pin_factory=pins))
            for name in ALARMS
            if (pin := getattr(hardware, f"{name}_pin")) is not None
        ]
        self._siren = _output(hardware.siren_pin, pins)
        self._test = _output(hardware.residual_test_pin, pins)
        self._turn = -1
        self.alarms: dict[str, bool] = {name: not line.value for name, line in self._inputs}

    @property
    def residual_test_fitted(self) -> bool:
        return self._test is not None

    @property
    def siren_fitted(self) -> bool:
        return self._siren is not None

    def read_next(self) -> tuple[str, bool] | None:
        """Read the next contact; return its name and whether it alarms. None if there is none."""
        if not self._inputs:
            return None
        self._turn = (self._turn + 1) % len(self._inputs)
        name, line = self._inputs[self._turn]
        alarm = self.alarms[name] = not line.value
        return name, alarm

    def sound(self, on: bool) -> None:
        """Switch the siren."""
        _switch(self._siren, on)

    def test_residual(self, on: bool) -> None:
        """Switch the monitor's test current."""
        _switch(self._test, on)

    def close(self) -> None:
        for device in (*(line for _, line in self._inputs), self._siren, self._test):
            if device is not None:
                device.close()


def _output(pin: int | None, pins: Factory) -> Any:
    return None if pin is None else OutputDevice(pin, initial_value=False, pin_factory=pins)


def _switch(device: Any, on: bool) -> None:
    if device is not None and bool(device.value) != on:
        device.value = on
