"""Contacts, plugs and coils that do not do what they should."""

from typing import TYPE_CHECKING

from cabinet.errors import SimError
from cabinet.sim.fault_kinds import Change, Kind, Number, Params, nothing
from cabinet.sim.heat import CONTACT_OHM

if TYPE_CHECKING:
    from cabinet.sim.world import World


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


def _plugged(world: "World", number: int, params: Params) -> None:
    if world.outlets[number].load is None:
        raise SimError(f"nothing is plugged into outlet {number}")


def _hold_coil(held: bool) -> Change:
    def change(world: "World", number: int, params: Params, at_ns: int) -> None:
        expander, pin = world.coil_place[number]
        if expander is None:
            world.lines.hold(pin, False if held else None, at_ns)
        else:
            world.expanders[expander].hold(pin, False if held else None, at_ns)

    return change


def _weld_contactor(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.contactor.weld(at_ns)


def _unweld_contactor(world: "World", number: int, params: Params, at_ns: int) -> None:
    world.contactor.unweld(at_ns)


def _contactor_fitted(world: "World", number: int, params: Params) -> None:
    if not world.has_contactor:
        raise SimError("this cabinet has no contactor: hardware.contactor_pin is not set")


CONTACTS: dict[str, Kind] = {
    "welded": Kind("the relay's contacts stick together", "3 welded", _weld, _unweld),
    "stuck_open": Kind(
        "a broken driver holds the relay's coil output low", "3 stuck_open", _hold_coil(True), _hold_coil(False)
    ),
    "contactor_welded": Kind(
        "the contactor's contacts stick together", "all contactor_welded", _weld_contactor, _unweld_contactor,
        cabinet=True, check=_contactor_fitted,
    ),
    "hot": Kind(
        "a bad contact", "3 hot --ohms 3", _hot, _cool, {"ohms": Number(3, 0.01, 20, "ohm of the contact")}
    ),
    "hot_plug": Kind(
        "the plug is pulled and pushed in again, with a bounce", "3 hot_plug", _hot_plug, nothing,
        lasts=False, check=_plugged,
    ),
}  # fmt: skip
