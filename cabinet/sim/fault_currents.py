"""Fault currents: shorts, overloads, leaks to earth, and a bypass that the outlet's meter does not measure."""

import math
import random

from cabinet.sim.fault_kinds import Choice, FaultKind, Number
from cabinet.sim.outlet import ExtraCurrent
from cabinet.sim.world import Params, World

SHAPES = ("full", "half", "intermittent", "sparse")
SPARSE_OF, SPARSE_STRUCK = 50, 8  # UL 1699: a breaker must act on eight half-cycles of arcing within 0.5 s


def _short(world: World, number: int, params: Params, at_ns: int) -> None:
    extra = ExtraCurrent("short", float(params["amps"]), _pattern(str(params["shape"]), world.rng))
    _start(world, number, extra, params, at_ns)


def _overload(world: World, number: int, params: Params, at_ns: int) -> None:
    _start(world, number, ExtraCurrent("overload", float(params["amps"]), (True,)), params, at_ns)


def _start(world: World, number: int, extra: ExtraCurrent, params: Params, at_ns: int) -> None:
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
    """Return the half-cycles in which the fault conducts.

    An intermittent arc skips at most three. A sparse arc strikes in eight random ones of fifty, the rarest arcing that
    an arc-fault breaker must still detect.
    """
    if shape == "full":
        return (True,)
    if shape == "half":
        return (True, False)
    if shape == "sparse":
        struck = set(rng.sample(range(SPARSE_OF), SPARSE_STRUCK))
        return tuple(half in struck for half in range(SPARSE_OF))
    pattern: list[bool] = []
    while len(pattern) < 16:
        pattern += [True] + [False] * rng.choice((0, 0, 1, 1, 2, 3))
    return tuple(pattern[:16])


def _stop_current(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_extra(None, at_ns)


def _leak(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_leak(float(params["ma"]), at_ns)


def _no_leak(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_leak(0.0, at_ns)


def _bypass(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_bypass(float(params["amps"]), at_ns)


def _no_bypass(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_bypass(0.0, at_ns)


_PHASE = Number(None, 0, 360, "begin at this angle of the mains, degrees")

CURRENTS: dict[str, FaultKind] = {
    "short": FaultKind(
        "a short at the plug", "5 short --amps 60 --shape half --at-phase 90", _short, _stop_current,
        {
            "amps": Number(60, 1, 2000, "RMS ampere"),
            "shape": Choice(SHAPES, "half-cycles it conducts in"),
            "at_phase": _PHASE,
        },
    ),
    "overload": FaultKind(
        "a load too much at the plug", "5 overload --amps 9", _overload, _stop_current,
        {"amps": Number(10, 0.1, 100, "RMS ampere"), "at_phase": _PHASE},
    ),
    "leak": FaultKind(
        "current to earth while the outlet has mains", "4 leak --ma 30", _leak, _no_leak,
        {"ma": Number(50, 0, 1000, "residual current, milliampere")},
    ),
    "bypass": FaultKind(
        "a current through the outlet and the cabinet's meter, past the outlet's own", "4 bypass --amps 2",
        _bypass, _no_bypass, {"amps": Number(2, 0.1, 32, "RMS ampere")},
    ),
}  # fmt: skip
