"""What can go wrong in the simulated cabinet: every fault declared once, with its parameters and what it does."""

import difflib
import math
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cabinet.errors import SimError
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.heat import CONTACT_OHM
from cabinet.sim.outlet import ExtraCurrent

if TYPE_CHECKING:
    from cabinet.sim.world import World

Params = Mapping[str, float | str]
SHAPES = ("full", "half", "intermittent")
CHIPS = ("meter", "thermometer", "expander")


class Number(NamedTuple):
    """A parameter that is a number with bounds; `default` None means it may be left out."""

    default: float | None
    least: float
    most: float
    what: str


class Choice(NamedTuple):
    """A parameter that is one of a few words."""

    options: tuple[str, ...]
    what: str


class Kind(NamedTuple):
    """A fault: what it is, what it takes, whether it is the whole cabinet's, and what sets and removes it."""

    what: str
    params: Mapping[str, Number | Choice]
    apply: Callable[["World", int, Params, int], None]
    remove: Callable[["World", int, Params, int], None]
    cabinet: bool = False


class Standing(NamedTuple):
    """A fault that is there, as it was set."""

    params: Params


# Faults of something that two outlets share.
_SHARED = frozenset({"nack", "stuck_bus", "frozen"})


def set_fault(world: "World", number: int | None, kind: str, given: Mapping[str, float | str], at_ns: int) -> None:
    """Check and apply; SimError for an unknown fault, parameter or outlet, and nothing is changed then."""
    found = FAULTS.get(kind)
    if found is None:
        near = difflib.get_close_matches(kind, FAULTS, 1, cutoff=0.4)
        raise SimError(
            f"no fault {kind!r}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(FAULTS)}")
        )
    params = _checked(kind, found, given)
    if found.cabinet:
        number = None
    elif number is None:
        raise SimError(f"{kind} needs an outlet")
    else:
        outlet = world.outlet(number)
        if params.get("chip") == "thermometer" and number not in world.thermometers:
            raise SimError(f"outlet {number} has no thermometer")
        if kind == "hot_plug" and outlet.load is None:
            raise SimError(f"nothing is plugged into outlet {number}")
    old = world.faults.setdefault(number, {}).pop(kind, None)
    if old is not None:
        found.remove(world, number or 0, old.params, at_ns)
    world.journal.add(at_ns, "fault", number, fault=kind, **params)
    world.faults[number][kind] = Standing(params)
    found.apply(world, number or 0, params, at_ns)
    if not _lasts(kind):
        del world.faults[number][kind]


def clear(world: "World", number: int | None, at_ns: int) -> None:
    """Remove the faults of outlet `number`, or all; a tripped breaker is closed again."""
    if number is not None:
        world.outlet(number)
    gone: set[str] = set()
    for place in list(world.faults) if number is None else [number]:
        for kind, standing in world.faults.pop(place, {}).items():
            FAULTS[kind].remove(world, place or 0, standing.params, at_ns)
            gone.add(kind)
    for place, faults in world.faults.items():
        for kind in gone & _SHARED & set(faults):
            FAULTS[kind].apply(world, place or 0, faults[kind].params, at_ns)
    for outlet in world.outlets.values() if number is None else [world.outlets[number]]:
        outlet.clear(at_ns)
    world.journal.add(at_ns, "cleared", number)


def _lasts(kind: str) -> bool:
    return kind not in ("chip_reset", "hot_plug")


def _checked(kind: str, found: Kind, given: Mapping[str, float | str]) -> dict[str, float | str]:
    for name in given:
        if name not in found.params:
            takes = ", ".join(found.params) or "nothing"
            raise SimError(f"{kind} does not take {name}; it takes {takes}")
    params: dict[str, float | str] = {}
    for name, parameter in found.params.items():
        value = given.get(name)
        if isinstance(parameter, Choice):
            value = parameter.options[0] if value is None else value
            if value not in parameter.options:
                raise SimError(f"{kind}: {name} is one of {', '.join(parameter.options)}, not {value!r}")
            params[name] = value
            continue
        if value is None:
            value = parameter.default
        if value is None:
            continue
        if isinstance(value, str) or not parameter.least <= value <= parameter.most:
            raise SimError(f"{kind}: {name} is {parameter.least:g} to {parameter.most:g}, not {value!r}")
        params[name] = float(value)
    return params


# ---- currents


def _short(world: "World", number: int, params: Params, at_ns: int) -> None:
    extra = ExtraCurrent("short", float(params["amps"]), _pattern(str(params["shape"]), world.rng))
    _start(world, number, extra, params, at_ns)


def _overload(world: "World", number: int, params: Params, at_ns: int) -> None:
    _start(world, number, ExtraCurrent("overload", float(params["amps"]), (True,)), params, at_ns)


def _start(world: "World", number: int, extra: ExtraCurrent, params: Params, at_ns: int) -> None:
    outlet = world.outlets[number]
    if "at_phase" in params and world.mains is not None:
        begin_ns = world.mains.next_angle_ns(math.radians(float(params["at_phase"])), at_ns)
        standing = world.faults[number][extra.kind]

        def begin(t: int) -> None:
            if world.faults.get(number, {}).get(extra.kind) is standing:
                outlet.set_extra(extra, t)

        world.timeline.at(begin_ns, begin)
    else:
        outlet.set_extra(extra, at_ns)


def _pattern(shape: str, rng: random.Random) -> tuple[bool, ...]:
    """Half-cycles in which the fault conducts. An arc strikes in some, never more than three apart."""
    if shape == "full":
        return (True,)
    if shape == "half":
        return (True, False)
    pattern: list[bool] = []
    while len(pattern) < 16:
        pattern += [True] + [False] * rng.choice((0, 0, 1, 1, 2, 3))
    return tuple(pattern[:16])


def _stop_current(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_extra(None, at_ns)


# ---- chips and bus


def _meter(world: "World", number: int) -> Ade7953:
    meter = world.outlets[number].meter
    assert meter is not None  # every outlet of a configuration has one
    return meter[0]


def _presence(present: bool) -> Callable[["World", int, Params, int], None]:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        if params["chip"] == "meter":
            _meter(world, number).present = present
        elif params["chip"] == "thermometer":
            world.thermometers[number].present = present
        else:
            for expander in world.expanders.values():
                expander.present = present

    return change


def _stuck(stuck: bool) -> Callable[["World", int, Params, int], None]:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        world.segment_of[number].stuck = stuck
        world.bus.rejoin()

    return change


def _freeze(world: "World", number: int, params: Params, at_ns: int) -> None:
    if params["chip"] == "thermometer":
        world.thermometers[number].frozen = True
    else:
        _meter(world, number).freeze(at_ns)


def _thaw(world: "World", number: int, params: Params, at_ns: int) -> None:
    if number in world.thermometers:
        world.thermometers[number].frozen = False
    _meter(world, number).thaw(at_ns)


def _chip_reset(world: "World", number: int, params: Params, at_ns: int) -> None:
    if params["chip"] == "meter":
        if params["down"]:
            _meter(world, number).power_up(at_ns)
        else:
            _meter(world, number).reset(at_ns)
    elif params["chip"] == "thermometer":
        world.thermometers[number].power_up(at_ns)
    else:
        for expander in world.expanders.values():
            expander.power_up(at_ns)


def _nothing(world: "World", number: int, params: Params, at_ns: int) -> None:
    """What has happened cannot be undone."""


# ---- contacts, plugs and mains


def _weld(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].relay.weld(at_ns)


def _unweld(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].relay.unweld(at_ns)


def _hot(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_contact_ohm(float(params["ohms"]), at_ns)


def _cool(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_contact_ohm(CONTACT_OHM, at_ns)


def _hot_plug(world: "World", number: int, params: Params, at_ns: int) -> None:
    """Pulled and pushed in again, with a bounce."""
    outlet = world.outlets[number]
    load = outlet.load
    assert load is not None  # checked before it was set
    outlet.unplug(at_ns)

    def plug(t: int) -> None:
        if outlet.load is None:
            outlet.plug(load, t)

    def unplug(t: int) -> None:
        if outlet.load is load:
            outlet.unplug(t)

    for after_ms, action in ((80, plug), (83, unplug), (90, plug)):
        world.timeline.at(at_ns + after_ms * 1_000_000, action)


def _mains_cut(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=True)
    if "seconds" in params:
        standing = world.faults[None]["mains_cut"]

        def back(t: int) -> None:
            if world.faults.get(None, {}).get("mains_cut") is standing:
                del world.faults[None]["mains_cut"]
                world.change_mains(t, cut=False)

        world.timeline.at(at_ns + round(float(params["seconds"]) * 1e9), back)


def _mains_back(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=False)


_PHASE = Number(None, 0, 360, "begin at this angle of the mains, degrees")
_CHIP = Choice(CHIPS, "which chip")

FAULTS: dict[str, Kind] = {
    "short": Kind(
        "a short at the plug",
        {
            "amps": Number(60, 1, 2000, "RMS ampere"),
            "shape": Choice(SHAPES, "half-cycles it conducts in"),
            "at_phase": _PHASE,
        },
        _short, _stop_current,
    ),
    "overload": Kind(
        "a load too much at the plug", {"amps": Number(10, 0.1, 100, "RMS ampere"), "at_phase": _PHASE},
        _overload, _stop_current,
    ),
    "nack": Kind("a chip stops answering", {"chip": _CHIP}, _presence(False), _presence(True)),
    "stuck_bus": Kind("SDA held low behind the outlet's mux channel", {}, _stuck(True), _stuck(False)),
    "frozen": Kind("a chip's readings stop changing", {"chip": Choice(CHIPS[:2], "which chip")}, _freeze, _thaw),
    "chip_reset": Kind(
        "a chip is back at its power-on values",
        {"chip": _CHIP, "down": Number(0, 0, 1, "1: with its start-up of 66 ms, 0: at once")}, _chip_reset, _nothing,
    ),
    "welded": Kind("the relay's contacts stick together", {}, _weld, _unweld),
    "hot": Kind("a bad contact", {"ohms": Number(3, 0.01, 20, "ohm of the contact")}, _hot, _cool),
    "hot_plug": Kind("the plug is pulled and pushed in again, with a bounce", {}, _hot_plug, _nothing),
    "mains_cut": Kind(
        "the mains goes", {"seconds": Number(None, 0.001, 86_400, "until it comes back by itself")},
        _mains_cut, _mains_back, cabinet=True,
    ),
}  # fmt: skip
