"""Faults of chips and the bus: no answer, hung, reset to defaults, or wrong values."""

import math
from collections.abc import Iterable

from cabinet.errors import SimError
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet.sim.fault_kinds import Change, Choice, FaultKind, Number, nothing
from cabinet.sim.world import Params, World

CHIPS = ("meter", "thermometer", "expander", "feed_meter", "inside_thermometer")
CHIPS_AND_MUX = (*CHIPS, "mux")
MEASURING = tuple(name for name in CHIPS if name != "expander")


def chips(world: World, number: int, params: Params) -> Iterable[Ade7953 | Tmp102 | Mcp23017 | Tca9548a]:
    """Return the chips that `params` selects, of the outlet or the cabinet. Raises SimError if none is fitted."""
    match params["chip"]:
        case "meter":
            meter = world.outlets[number].meter
            assert meter is not None  # every outlet of a configuration has one
            return [meter[0]]
        case "thermometer" if number in world.thermometers:
            return [world.thermometers[number]]
        case "thermometer":
            raise SimError(f"outlet {number} has no thermometer")
        case "feed_meter" if world.feed_meter is not None:
            return [world.feed_meter.chip]
        case "inside_thermometer" if world.inside_thermometer is not None:
            return [world.inside_thermometer]
        case "expander":
            return world.expanders.values()
        case "mux":
            return [world.mux_of[number]]
        case other:
            raise SimError(f"this cabinet has no {other}: hardware.{other} is not set")


def _fitted(world: World, number: int, params: Params) -> None:
    chips(world, number, params)


def _presence(present: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        for chip in chips(world, number, params):
            chip.present = present

    return change


def _stuck(stuck: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        world.segment_of[number].stuck = stuck
        world.bus.rejoin()

    return change


def _stick_upstream(world: World, number: int, params: Params, at_ns: int) -> None:
    upstream = world.bus.upstream
    upstream.stuck, upstream.clocks_left = True, int(params["clocks"]) or None
    world.bus.rejoin()


def _free_upstream(world: World, number: int, params: Params, at_ns: int) -> None:
    world.bus.upstream.stuck = False
    world.bus.rejoin()


def _freeze(frozen: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        for chip in chips(world, number, params):
            if isinstance(chip, Tmp102):
                chip.frozen = frozen
            elif isinstance(chip, Ade7953) and frozen:
                chip.freeze(at_ns)
            elif isinstance(chip, Ade7953):
                chip.thaw(at_ns)

    return change


def _chip_reset(world: World, number: int, params: Params, at_ns: int) -> None:
    for chip in chips(world, number, params):
        if isinstance(chip, Ade7953) and not params["down"]:
            chip.reset(at_ns)
        elif not isinstance(chip, Tca9548a):
            chip.power_up(at_ns)


def _garble(implausible: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        for chip in chips(world, number, params):
            assert isinstance(chip, Ade7953)
            chip.implausible = implausible

    return change


def _jump(world: World, number: int, params: Params, at_ns: int) -> None:
    for chip in chips(world, number, params):
        assert isinstance(chip, Tmp102)
        chip.offset_c = float(params["kelvin"])


def _jump_back(world: World, number: int, params: Params, at_ns: int) -> None:
    for chip in chips(world, number, params):
        assert isinstance(chip, Tmp102)
        chip.offset_c = 0.0


def _couple(world: World, number: int, params: Params, at_ns: int) -> None:
    _set_crosstalk(world, number, (float(params["share"]), params["shows"] == "everywhere"), at_ns)


def _uncouple(world: World, number: int, params: Params, at_ns: int) -> None:
    _set_crosstalk(world, number, world.fitted_crosstalk.get(number, (0.0, False)), at_ns)


def _set_crosstalk(world: World, number: int, crosstalk: tuple[float, bool], at_ns: int) -> None:
    meter = world.outlets[number].meter
    assert meter is not None  # every outlet of a configuration has one
    share, everywhere = crosstalk
    meter[0].set_crosstalk(share, at_ns, everywhere)


def _saturate(world: World, number: int, params: Params, at_ns: int) -> None:
    _set_saturation(world, number, float(params["amps"]), at_ns)


def _desaturate(world: World, number: int, params: Params, at_ns: int) -> None:
    _set_saturation(world, number, world.fitted_saturation_a.get(number, math.inf), at_ns)


def _set_saturation(world: World, number: int, level_a: float, at_ns: int) -> None:
    meter = world.outlets[number].meter
    assert meter is not None  # every outlet of a configuration has one
    meter[0].saturate(meter[1], level_a, at_ns)


def _lose_reads(world: World, number: int, params: Params, at_ns: int) -> None:
    world.bus.lost_share = float(params["share"])


def _lose_none(world: World, number: int, params: Params, at_ns: int) -> None:
    world.bus.lost_share = 0.0


def _slow_bus(world: World, number: int, params: Params, at_ns: int) -> None:
    world.bus.set_speed(float(params["hz"]))


def _full_bus(world: World, number: int, params: Params, at_ns: int) -> None:
    world.bus.set_speed(world.bus.speed_hz)


_CHIP = Choice(CHIPS, "which chip; the last two are the cabinet's own")
_CHIP_OR_MUX = Choice(CHIPS_AND_MUX, "which chip; feed_meter and inside_thermometer are the cabinet's own")

BUS: dict[str, FaultKind] = {
    "nack": FaultKind(
        "a chip stops answering", "2 nack --chip thermometer", _presence(False), _presence(True),
        {"chip": _CHIP_OR_MUX}, shared=True, check=_fitted,
    ),
    "stuck_bus": FaultKind(
        "SDA held low behind the outlet's mux channel", "2 stuck_bus", _stuck(True), _stuck(False), shared=True
    ),
    "stuck_upstream": FaultKind(
        "SDA held low before the muxes, by a chip interrupted in a byte", "all stuck_upstream --clocks 4",
        _stick_upstream, _free_upstream,
        {"clocks": Number(9, 0, 9, "after which it lets go; 0: never")}, cabinet=True,
    ),
    "noise_reads": FaultKind(
        "reads fail now and then, on the whole bus", "all noise_reads --share 0.02", _lose_reads, _lose_none,
        {"share": Number(0.01, 0, 1, "of the reads are not acknowledged")}, cabinet=True,
    ),
    "slow_bus": FaultKind(
        "the bus's clock is slower than configured, as with a lowered core clock", "all slow_bus --hz 160000",
        _slow_bus, _full_bus,
        {"hz": Number(160_000, 10_000, 400_000, "true clock; the guard measures it at its start")}, cabinet=True,
    ),
    "frozen": FaultKind(
        "a chip's readings stop changing", "2 frozen --chip meter", _freeze(True), _freeze(False),
        {"chip": Choice(MEASURING, "which chip")}, shared=True, check=_fitted,
    ),
    "implausible": FaultKind(
        "a meter chip's peaks and RMS are read as all ones", "2 implausible", _garble(True), _garble(False),
        {"chip": Choice(("meter", "feed_meter"), "which chip")}, shared=True, check=_fitted,
    ),
    "thermometer_jump": FaultKind(
        "a thermometer shows too much from one moment on", "2 thermometer_jump --kelvin 40", _jump, _jump_back,
        {
            "kelvin": Number(30, -100, 100, "shown above what is so"),
            "chip": Choice(("thermometer", "inside_thermometer"), "which chip"),
        },
        shared=True, check=_fitted,
    ),
    "crosstalk": FaultKind(
        "the meter chip's two inputs show a share of each other's current", "2 crosstalk --share 0.01",
        _couple, _uncouple,
        {
            "share": Number(0.01, 0, 0.2, "of the other input's current"),
            "shows": Choice(("everywhere", "peaks"), "in peaks only, or in RMS, power and energy too"),
        },
        shared=True,
    ),
    "saturates": FaultKind(
        "the outlet's current transformer saturates: peaks, RMS and alert show less than what flows",
        "2 saturates --amps 35", _saturate, _desaturate,
        {"amps": Number(35, 1, 2000, "instantaneous, from which it follows but weakly")},
    ),
    "chip_reset": FaultKind(
        "a chip is back at its power-on values", "2 chip_reset --chip meter --down 1", _chip_reset, nothing,
        {"chip": _CHIP, "down": Number(0, 0, 1, "1: with its start-up of 66 ms, 0: at once")},
        lasts=False, check=_fitted,
    ),
}  # fmt: skip
