"""Failsafe opening without the guard, for the keeper and `cabinet failsafe`: it needs only the configuration."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gpiozero import Factory, OutputDevice

from cabinet.config.keys import Config
from cabinet.config.wiring import PinRef
from cabinet.errors import HardwareError
from cabinet.hardware import mcp23017
from cabinet.hardware.bus import Bus, ChipPort, clock_out
from cabinet.hardware.mcp23017 import Mcp23017

T = TypeVar("T")
OpenBus = Callable[[], Bus]
OpenPins = Callable[[], Factory]


def open_everything(config: Config, open_bus: OpenBus, open_pins: OpenPins) -> list[Exception]:
    """Open every relay and the contactor with no other process alive, by the configuration only. Return the errors.

    GPIO comes first: contactor, relays, and the heartbeat line, which cuts the coils' supply when it stops. Then each
    expander's latch is set to 0, which does not depend on its set-up: at power-on values no pin is driven. If an
    expander cannot be reached, the muxes are reset, in case a segment behind them holds the bus, and the clock is
    pulsed, in case a chip before them does; then it is tried once more. Afterwards the lines are inputs, and pull-downs
    keep them low. May be called again at any time.
    """
    errors: list[Exception] = []
    pins = try_make(errors, open_pins)
    devices = [] if pins is None else _drive_low(config, pins, errors)

    def free_bus() -> None:
        if config.hardware.mux_reset_pin is not None and pins is not None:
            reset = output(config.hardware.mux_reset_pin, "mux reset", pins, active_high=False)
            devices.append(reset)
            reset.on()
            reset.off()
        if config.hardware.clock_out_pin is not None and pins is not None:
            clocks = output(config.hardware.clock_out_pin, "clock out", pins, active_high=False)
            devices.append(clocks)
            clock_out(clocks)

    bus = try_make(errors, open_bus)
    if bus is not None:
        errors += _clear_latches(bus, config.hardware.expanders, free_bus)
        try_call(errors, bus.close)
    for device in devices:
        try_call(errors, device.close)
    if pins is not None:
        try_call(errors, pins.close)
    return errors


def _drive_low(config: Config, pins: Factory, errors: list[Exception]) -> list[Any]:
    """Drive contactor, GPIO relays and heartbeat low, each in its own try; return the devices that are available."""
    places = [(outlet.number, PinRef.parse(outlet.relay)) for outlet in config.outlet]
    lines = [("contactor", config.hardware.contactor_pin)]
    lines += [(f"relay of outlet {number}", place.pin) for number, place in places if place.expander is None]
    lines += [("heartbeat", config.hardware.heartbeat_pin)]
    devices = [try_make(errors, output, pin, name, pins) for name, pin in lines if pin is not None]
    return [device for device in devices if device is not None]


def _clear_latches(bus: Bus, addresses: Sequence[int], free_bus: Callable[[], None]) -> list[Exception]:
    """Set OLAT of every expander to 0; retry those that fail once after `free_bus`. Return the last errors."""
    expanders = [Mcp23017(ChipPort(bus, mcp23017.NAME, address)) for address in addresses]
    failed = [expander for expander in expanders if not try_call([], expander.write_outputs, mcp23017.ALL_LOW)]
    errors: list[Exception] = []
    if failed:
        try_call(errors, free_bus)
    for expander in failed:
        try_call(errors, expander.write_outputs, mcp23017.ALL_LOW)
    return errors


def output(pin: int, name: str, pin_factory: Factory, *, active_high: bool = True) -> Any:
    """Return a line driven to its inactive level from the first moment. Raises HardwareError that names it."""
    try:
        return OutputDevice(pin, active_high=active_high, initial_value=False, pin_factory=pin_factory)
    except Exception as error:  # each pin factory has its own
        raise HardwareError(f"{name} on GPIO {pin}: {error}") from error


def try_call(errors: list[Exception], action: Callable[..., object], *arguments: object) -> bool:
    """Call `action`; append any error to `errors`, because the following steps must be tried in any case."""
    try:
        action(*arguments)
    except Exception as error:
        errors.append(error)
        return False
    return True


def try_make(errors: list[Exception], make: Callable[..., T], *arguments: object) -> T | None:
    """Return the result of `make`, or None with its error in `errors`."""
    try:
        return make(*arguments)
    except Exception as error:
        errors.append(error)
        return None
