"""Faults of contacts, plugs and coils."""

from cabinet.errors import SimError
from cabinet.sim.fault_kinds import Change, Choice, FaultKind, Number, nothing
from cabinet.sim.heat import CONTACT_OHM
from cabinet.sim.parts import BREAKERS, SQRT2
from cabinet.sim.world import Params, World


def _weld(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].relay.weld(at_ns)


def _unweld(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].relay.unweld(at_ns)


def _hot(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_contact_ohm(float(params["ohms"]), at_ns)


def _cool(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].set_contact_ohm(CONTACT_OHM, at_ns)


def _hot_plug(world: World, number: int, params: Params, at_ns: int) -> None:
    """Pull the plug and push it in again, with a bounce."""
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


def _wobble(world: World, number: int, params: Params, at_ns: int) -> None:
    """Make and break the contact of the plug, each for 0.5 to 500 ms, with log-uniform durations."""
    outlet = world.outlets[number]
    load = outlet.load
    assert load is not None  # checked before it was set
    end_ns = at_ns + round(float(params["seconds"]) * 1e9)
    standing = world.faults[number]["loose_plug"]
    world.loose_plugs[number] = load

    def here() -> bool:
        return world.faults.get(number, {}).get("loose_plug") is standing

    def lose(t: int) -> None:
        if here() and outlet.load is load:
            outlet.unplug(t)
            world.timeline.at(t + _moment_ns(world), make)

    def make(t: int) -> None:
        if not here() or outlet.load is not None:
            return
        outlet.plug(load, t)
        if t < end_ns:
            world.timeline.at(t + _moment_ns(world), lose)
        else:
            del world.faults[number]["loose_plug"], world.loose_plugs[number]

    lose(at_ns)


def _push_in(world: World, number: int, params: Params, at_ns: int) -> None:
    load = world.loose_plugs.pop(number)
    if world.outlets[number].load is None:
        world.outlets[number].plug(load, at_ns)


def _moment_ns(world: World) -> int:
    share: float = (WOBBLE_NS[1] / WOBBLE_NS[0]) ** world.rng.random()
    return round(WOBBLE_NS[0] * share)


def _weaken(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].part = world.outlets[number].part._replace(
        breaking_peak_a=float(params["breaking_amps"]) * SQRT2,
        making_peak_a=float(params["making_amps"]),
        sticking_share=float(params["share"]),
    )


def _strengthen(world: World, number: int, params: Params, at_ns: int) -> None:
    old, new = world.outlets[number].part, world.fitted_relays[number]
    world.outlets[number].part = old._replace(
        breaking_peak_a=new.breaking_peak_a, making_peak_a=new.making_peak_a, sticking_share=new.sticking_share
    )


def _slow(world: World, number: int, params: Params, at_ns: int) -> None:
    release_ns = round(float(params["ms"]) * 1e6)
    world.outlets[number].part = world.outlets[number].part._replace(release_ns=(release_ns, release_ns))


def _quicken(world: World, number: int, params: Params, at_ns: int) -> None:
    release_ns = world.fitted_relays[number].release_ns
    world.outlets[number].part = world.outlets[number].part._replace(release_ns=release_ns)


def _slow_contactor(world: World, number: int, params: Params, at_ns: int) -> None:
    release_ns = round(float(params["ms"]) * 1e6)
    world.contactor_part = world.contactor_part._replace(release_ns=(release_ns, release_ns))


def _quicken_contactor(world: World, number: int, params: Params, at_ns: int) -> None:
    world.contactor_part = world.fitted_contactor


def _change_breaker(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].change_breaker(BREAKERS[str(params["acts"])], at_ns)


def _change_breaker_back(world: World, number: int, params: Params, at_ns: int) -> None:
    world.outlets[number].change_breaker(world.fitted_breakers[number], at_ns)


def _plugged(world: World, number: int, params: Params) -> None:
    if world.outlets[number].load is None:
        raise SimError(f"nothing is plugged into outlet {number}")


def _hold_coil(held: bool) -> Change:
    def change(world: World, number: int, params: Params, at_ns: int) -> None:
        expander, pin = world.coil_place[number]
        if expander is None:
            world.lines.hold(pin, False if held else None, at_ns)
        else:
            world.expanders[expander].hold(pin, False if held else None, at_ns)

    return change


def _weld_contactor(world: World, number: int, params: Params, at_ns: int) -> None:
    world.contactor.weld(at_ns)


def _unweld_contactor(world: World, number: int, params: Params, at_ns: int) -> None:
    world.contactor.unweld(at_ns)


def _contactor_fitted(world: World, number: int, params: Params) -> None:
    if not world.has_contactor:
        raise SimError("this cabinet has no contactor: hardware.contactor_pin is not set")


WOBBLE_NS = (500_000, 500_000_000)  # a contact's bounce to a hand's movement; no measurement of plugs was found

CONTACTS: dict[str, FaultKind] = {
    "welded": FaultKind("the relay's contacts stick together", "3 welded", _weld, _unweld),
    "stuck_open": FaultKind(
        "a broken driver holds the relay's coil output low", "3 stuck_open", _hold_coil(True), _hold_coil(False)
    ),
    "contactor_welded": FaultKind(
        "the contactor's contacts stick together", "all contactor_welded", _weld_contactor, _unweld_contactor,
        cabinet=True, check=_contactor_fitted,
    ),
    "hot": FaultKind(
        "a bad contact", "3 hot --ohms 3", _hot, _cool, {"ohms": Number(3, 0.01, 20, "ohm of the contact")}
    ),
    "hot_plug": FaultKind(
        "the plug is pulled and pushed in again, with a bounce", "3 hot_plug", _hot_plug, nothing,
        lasts=False, check=_plugged,
    ),
    "loose_plug": FaultKind(
        "the plug makes and loses contact for a while", "3 loose_plug --seconds 3", _wobble, _push_in,
        {"seconds": Number(3, 0.01, 60, "until it sits")}, check=_plugged,
    ),
    "weak_contacts": FaultKind(
        "the relay's contacts weld more easily: on breaking, on closing, or by chance",
        "3 weak_contacts --breaking-amps 16 --making-amps 30", _weaken, _strengthen,
        {
            "breaking_amps": Number(16, 0.1, 1000, "RMS that they may break"),
            "making_amps": Number(80, 0.1, 5000, "crest that they may close onto"),
            "share": Number(0, 0, 1, "of operations with current after which they stick by chance"),
        },
    ),
    "slow_release": FaultKind(
        "the relay's coil lets go late, as with a plain diode across it", "3 slow_release --ms 25", _slow, _quicken,
        {"ms": Number(25, 1, 100, "from the coil's supply gone to parting contacts")},
    ),
    "breaker": FaultKind(
        "another breaker is in front of the outlet, or none", "3 breaker --acts never",
        _change_breaker, _change_breaker_back,
        {"acts": Choice(tuple(BREAKERS)[::-1], "quick: a B16 at its lowest, slow: a D16 at its highest")},
    ),
    "contactor_slow": FaultKind(
        "the contactor's coil lets go late", "all contactor_slow --ms 24", _slow_contactor, _quicken_contactor,
        {"ms": Number(24, 1, 200, "from the coil's supply gone to parting contacts")},
        cabinet=True, check=_contactor_fitted,
    ),
}  # fmt: skip
