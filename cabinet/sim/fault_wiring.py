"""Wiring mistakes, and the external heat on a contact that a person applies to find them."""

from cabinet.errors import SimError
from cabinet.sim.fault_kinds import FaultKind, Number
from cabinet.sim.world import Params, World

_OTHER = Number(None, 1, 40, "the other outlet; the next one where it is left out")


def _other(world: World, number: int, params: Params) -> int:
    """Return the other outlet. Raises SimError if it does not exist or is the same one."""
    later = [each for each in world.outlets if each > number] or [each for each in world.outlets if each != number]
    other = int(params["other"]) if "other" in params else min(later, default=number)
    if world.outlet(other).number == number:
        raise SimError(f"outlet {number} cannot be swapped with itself")
    return other


def _two(world: World, number: int, params: Params) -> None:
    _other(world, number, params)


def _other_thermometer(world: World, number: int, params: Params) -> int:
    """Return the other outlet as `_other` does. Raises SimError if both share a thermometer or one has none."""
    mine = world.thermometers.get(number)
    if "other" in params:
        other = _other(world, number, params)
    else:
        others = [each for each, chip in world.thermometers.items() if chip is not mine]
        other = min(others, key=lambda each: (each < number, each), default=number)
    theirs = world.thermometers.get(other)
    if mine is None or theirs is None or mine is theirs:
        raise SimError("each of the two outlets must have a thermometer of its own")
    return other


def _two_thermometers(world: World, number: int, params: Params) -> None:
    _other_thermometer(world, number, params)


def _swap_coils(world: World, number: int, params: Params, at_ns: int) -> None:
    """Swap the wires of two coils; each output keeps its level and drives the coil on its new wire."""
    swaps, pair = world.coil_swaps, (number, _other(world, number, params))
    driven = [swaps.get(each, each) for each in pair]
    commanded = [world.outlets[coil].relay.commanded for coil in driven]
    swaps[pair[0]], swaps[pair[1]] = driven[1], driven[0]
    for each, on in zip(pair, commanded, strict=True):
        world.set_coil(each, on, at_ns)


def _swap_thermometers(world: World, number: int, params: Params, at_ns: int) -> None:
    here, there = world.thermometers[number], world.thermometers[_other_thermometer(world, number, params)]
    here.temperature_c, there.temperature_c = there.temperature_c, here.temperature_c


def _swap_meters(world: World, number: int, params: Params, at_ns: int) -> None:
    here, there = world.outlets[number], world.outlets[_other(world, number, params)]
    here.meter, there.meter = there.meter, here.meter
    for outlet in (here, there):
        if outlet.meter is not None:
            chip, channel = outlet.meter
            chip.follow(channel, outlet.wave, at_ns)


def _reverse(world: World, number: int, params: Params, at_ns: int) -> None:
    meter = world.outlets[number].meter
    assert meter is not None  # every outlet of a configuration has one
    channel = meter[0].channels[meter[1]]
    channel.settle(at_ns)
    channel.gains.sensor_power = -channel.gains.sensor_power
    channel.scale_changed()


def _warm(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].warmed.aim(float(params["kelvin"]), at_ns)


def _cool(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].warmed.aim(0.0, at_ns)


WIRING: dict[str, FaultKind] = {
    "relays_swapped": FaultKind(
        "the wires of two relays' coils are swapped", "3 relays_swapped --other 7", _swap_coils, _swap_coils,
        {"other": _OTHER}, check=_two,
    ),
    "meters_swapped": FaultKind(
        "the current sensors of two outlets are swapped", "3 meters_swapped --other 7", _swap_meters, _swap_meters,
        {"other": _OTHER}, check=_two,
    ),
    "current_reversed": FaultKind(
        "the current sensor is put on backwards", "3 current_reversed", _reverse, _reverse
    ),
    "thermometers_swapped": FaultKind(
        "two thermometers sit at each other's place", "3 thermometers_swapped --other 7",
        _swap_thermometers, _swap_thermometers, {"other": _OTHER}, check=_two_thermometers,
    ),
    "warmed": FaultKind(
        "somebody warms the contacts from outside", "3 warmed --kelvin 12", _warm, _cool,
        {"kelvin": Number(12, 1, 60, "warmer than the air")},
    ),
}  # fmt: skip
