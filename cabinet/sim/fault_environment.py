"""Faults of the mains, the air inside the cabinet, and the alarm contacts."""

import math

from cabinet.errors import SimError
from cabinet.sim.contacts import INPUTS
from cabinet.sim.fault_kinds import Change, Choice, FaultKind, Number, ends_after, nothing
from cabinet.sim.parts import BREAKERS
from cabinet.sim.waveform import Harmonic
from cabinet.sim.world import Params, World


def _mains_cut(world: World, number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=True)
    ends_after(world, "mains_cut", params, at_ns, lambda t: world.change_mains(t, cut=False))


def _mains_back(world: World, number: int, params: Params, at_ns: int) -> None:
    world.change_mains(at_ns, cut=False)


def _mains_sag(world: World, number: int, params: Params, at_ns: int) -> None:
    world.sag(float(params["volts"]), at_ns)
    ends_after(world, "mains_sag", params, at_ns, lambda t: world.sag(None, t))


def _sag_over(world: World, number: int, params: Params, at_ns: int) -> None:
    world.sag(None, at_ns)


def _distort(world: World, number: int, params: Params, at_ns: int) -> None:
    """Set harmonics. Flat: third and seventh lower the crest; pointed: they raise it. The fifth raises it in both."""
    pointed = params["crest"] == "pointed"
    shares = ((3, "third", pointed), (5, "fifth", False), (7, "seventh", pointed))
    world.distort(
        tuple(
            Harmonic(order, float(params[name]) / 100, math.pi if negative else 0.0) for order, name, negative in shares
        ),
        at_ns,
    )


def _straighten(world: World, number: int, params: Params, at_ns: int) -> None:
    world.distort(world.fitted_harmonics, at_ns)


def _wander(world: World, number: int, params: Params, at_ns: int) -> None:
    """Move the frequency by a random step every `seconds`, at most `hz` away from its initial value."""
    standing = world.faults[None]["mains_wander"]
    most_hz, period_ns, nominal_hz = float(params["hz"]), round(float(params["seconds"]) * 1e9), world.frequency_hz

    def step(t: int) -> None:
        if world.faults.get(None, {}).get("mains_wander") is not standing:
            return
        moved_hz = world.frequency_hz + world.rng.gauss(0.0, most_hz / 4)
        world.change_mains(t, frequency_hz=min(max(moved_hz, nominal_hz - most_hz), nominal_hz + most_hz))
        world.timeline.at(t + period_ns, step)

    step(at_ns)


def _fit_upstream(world: World, number: int, params: Params, at_ns: int) -> None:
    part = BREAKERS[str(params["acts"])]
    ratio = float(params["amps"]) / part.rated_a
    world.fit_upstream_breaker(
        part._replace(rated_a=part.rated_a * ratio, magnetic_peak_a=part.magnetic_peak_a * ratio), at_ns
    )


def _remove_upstream(world: World, number: int, params: Params, at_ns: int) -> None:
    world.fit_upstream_breaker(None, at_ns)


def _burn(world: World, number: int, params: Params, at_ns: int) -> None:
    world.fire.aim(float(params["kelvin"]), at_ns, float(params["settle_s"]) * 1e9)


def _burn_out(world: World, number: int, params: Params, at_ns: int) -> None:
    """Cool the air down with the time constant of the heating."""
    world.fire.aim(0.0, at_ns)


def _alarm(name: str, on: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        world.contacts[name].alarm(on, at_ns)

    return change


def _cut(cut: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        world.contacts[str(params["input"])].cut_wire(cut, at_ns)

    return change


def _monitor(dead: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        assert world.residual_monitor is not None  # checked before the fault was set
        world.residual_monitor.die(dead, at_ns)

    return change


def _need(world: World, name: str) -> None:
    if name not in world.contacts:
        raise SimError(f"this cabinet has no {name} contact: hardware.{name}_pin is not set")


ENVIRONMENT: dict[str, FaultKind] = {
    "mains_cut": FaultKind(
        "the mains goes", "all mains_cut --seconds 2", _mains_cut, _mains_back,
        {"seconds": Number(None, 0.001, 86_400, "until it comes back by itself")}, cabinet=True,
    ),
    "mains_sag": FaultKind(
        "the mains sinks, or rises, to another voltage", "all mains_sag --volts 150 --seconds 3", _mains_sag, _sag_over,
        {
            "volts": Number(150, 0, 400, "RMS volt"),
            "seconds": Number(None, 0.001, 86_400, "until it is as before by itself"),
        },
        cabinet=True,
    ),
    "mains_harmonics": FaultKind(
        "the mains is no sine, through every cut and sag; the most that EN 50160 lets pass", "all mains_harmonics",
        _distort, _straighten,
        {
            "third": Number(5, 0, 20, "percent of the fundamental"),
            "fifth": Number(6, 0, 20, "percent of the fundamental"),
            "seventh": Number(5, 0, 20, "percent of the fundamental"),
            "crest": Choice(("flat", "pointed"), "what they make of the crest"),
        },
        cabinet=True,
    ),
    "mains_wander": FaultKind(
        "the frequency wanders; GB/T 15945 allows 0.2 Hz, 0.5 in a small grid", "all mains_wander --hz 0.2",
        _wander, nothing,
        {
            "hz": Number(0.2, 0, 5, "at most away from where it is"),
            "seconds": Number(1, 0.01, 600, "between two steps"),
        },
        cabinet=True,
    ),
    "upstream_breaker": FaultKind(
        "a breaker in front of the cabinet: tripped, it takes the mains from all outlets",
        "all upstream_breaker --acts quick --amps 40", _fit_upstream, _remove_upstream,
        {
            "acts": Choice(("nominal", "quick", "slow"), "type C, a B at its lowest, a D at its highest"),
            "amps": Number(40, 1, 200, "rated current"),
        },
        cabinet=True,
    ),
    "cabinet_heat": FaultKind(
        "the air inside heats up; contacts and their thermometers are left out", "all cabinet_heat --kelvin 50",
        _burn, _burn_out,
        {
            "kelvin": Number(50, 0, 100, "that the air rises by in the end"),
            "settle_s": Number(60, 1, 3600, "its time constant, seconds"),
        },
        cabinet=True,
    ),
    "smoke": FaultKind(
        "the smoke contact opens", "all smoke", _alarm("smoke", True), _alarm("smoke", False),
        cabinet=True, check=lambda world, number, params: _need(world, "smoke"),
    ),
    "water": FaultKind(
        "the water contact opens", "all water", _alarm("water", True), _alarm("water", False),
        cabinet=True, check=lambda world, number, params: _need(world, "water"),
    ),
    "wire_cut": FaultKind(
        "the wire of an alarm contact is cut", "all wire_cut --input smoke", _cut(True), _cut(False),
        {"input": Choice(INPUTS, "which contact")},
        cabinet=True, check=lambda world, number, params: _need(world, str(params["input"])),
    ),
    "rcm_dead": FaultKind(
        "the residual-current monitor never reacts", "all rcm_dead", _monitor(True), _monitor(False),
        cabinet=True, check=lambda world, number, params: _need(world, "residual"),
    ),
}  # fmt: skip
