"""The mains, the air inside, and what alarm contacts are there for."""

from typing import TYPE_CHECKING

from cabinet.errors import SimError
from cabinet.sim.contacts import INPUTS
from cabinet.sim.fault_kinds import Change, Choice, Kind, Number, Params, ends_after

if TYPE_CHECKING:
    from cabinet.sim.world import World


def _mains_cut(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=True)
    ends_after(world, "mains_cut", params, at_ns, lambda t: world.change_mains(t, cut=False))


def _mains_back(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=False)


def _mains_sag(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.sag(float(params["volts"]), at_ns)
    ends_after(world, "mains_sag", params, at_ns, lambda t: world.sag(None, t))


def _sag_over(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.sag(None, at_ns)


def _burn(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.fire.aim(float(params["kelvin"]), at_ns, float(params["settle_s"]) * 1e9)


def _burn_out(world: "World", number: int, params: Params, at_ns: int) -> None:
    """The air cools down again as fast as it was heated."""
    world.fire.aim(0.0, at_ns)


def _alarm(name: str, on: bool) -> Change:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        world.contacts[name].alarm(on, at_ns)

    return change


def _cut(cut: bool) -> Change:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        world.contacts[str(params["input"])].cut_wire(cut, at_ns)

    return change


def _monitor(dead: bool) -> Change:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        assert world.residual_monitor is not None  # checked before it was set
        world.residual_monitor.die(dead, at_ns)

    return change


def _need(world: "World", name: str) -> None:
    if name not in world.contacts:
        raise SimError(f"this cabinet has no {name} contact: hardware.{name}_pin is not set")


SURROUNDINGS: dict[str, Kind] = {
    "mains_cut": Kind(
        "the mains goes", "all mains_cut --seconds 2", _mains_cut, _mains_back,
        {"seconds": Number(None, 0.001, 86_400, "until it comes back by itself")}, cabinet=True,
    ),
    "mains_sag": Kind(
        "the mains sinks, or rises, to another voltage", "all mains_sag --volts 150 --seconds 3", _mains_sag, _sag_over,
        {
            "volts": Number(150, 0, 400, "RMS volt"),
            "seconds": Number(None, 0.001, 86_400, "until it is as before by itself"),
        },
        cabinet=True,
    ),
    "cabinet_heat": Kind(
        "the air inside heats up; contacts and their thermometers are left out", "all cabinet_heat --kelvin 50",
        _burn, _burn_out,
        {
            "kelvin": Number(50, 0, 100, "that the air rises by in the end"),
            "settle_s": Number(60, 1, 3600, "its time constant, seconds"),
        },
        cabinet=True,
    ),
    "smoke": Kind(
        "the smoke contact opens", "all smoke", _alarm("smoke", True), _alarm("smoke", False),
        cabinet=True, check=lambda world, number, params: _need(world, "smoke"),
    ),
    "water": Kind(
        "the water contact opens", "all water", _alarm("water", True), _alarm("water", False),
        cabinet=True, check=lambda world, number, params: _need(world, "water"),
    ),
    "wire_cut": Kind(
        "the wire of an alarm contact is cut", "all wire_cut --input smoke", _cut(True), _cut(False),
        {"input": Choice(INPUTS, "which contact")},
        cabinet=True, check=lambda world, number, params: _need(world, str(params["input"])),
    ),
    "rcm_dead": Kind(
        "the residual-current monitor never reacts", "all rcm_dead", _monitor(True), _monitor(False),
        cabinet=True, check=lambda world, number, params: _need(world, "residual"),
    ),
}  # fmt: skip
