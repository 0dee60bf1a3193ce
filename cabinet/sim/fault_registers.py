"""Stuck registers and alert lines: any register of any chip, at its present value or a given one, after any delay.

The names come from the chip models (`register_names`): for a meter `peak_a`, `rms_b`, `power_a`, `voltage`,
`energy_b`, `period`, `status_a`, `config` and every other register by its name in the data sheet, in lower case; for a
thermometer `temperature`, `config`, `t_low`, `t_high`; for an expander `olat`, `gpio`, `iodir`, `intf` and so on, both
ports as one word; for a mux `channels`.
"""

from cabinet.errors import SimError
from cabinet.sim.chips.stuck import Stickable
from cabinet.sim.fault_chips import CHIPS_AND_MUX, chips
from cabinet.sim.fault_kinds import Choice, FaultKind, Number, Word, nothing
from cabinet.sim.world import Params, World


def _chip(world: World, number: int, params: Params) -> Stickable:
    """Return the selected chip; if it is an expander, the one that drives the outlet's relay."""
    own = world.coil_place[number][0] if params["chip"] == "expander" else None
    if own is not None:
        return world.expanders[own]
    found = next(iter(chips(world, number, params)), None)
    if found is None:
        raise SimError(f"this cabinet has no {params['chip']}")
    return found


def _value(params: Params) -> int | None:
    return int(params["value"]) if "value" in params else None


def _register(world: World, number: int, params: Params) -> None:
    _chip(world, number, params).check(str(params["register"]), _value(params))


def _setting(world: World, number: int, params: Params) -> None:
    _chip(world, number, params).check(str(params["register"]), _value(params), upset=True)


def _stick(world: World, number: int, params: Params, at_ns: int) -> None:
    chip, register, value = _chip(world, number, params), str(params["register"]), _value(params)
    after_ns = round(float(params["after_s"]) * 1e9)
    standing = world.faults[number]["stuck"]

    def begin(t: int) -> None:
        if world.faults.get(number, {}).get("stuck") is standing:
            held = chip.stick(register, value, t)
            world.journal.add(t, "stuck", number, chip=str(params["chip"]), register=register, value=held)

    if after_ns:
        world.timeline.at(at_ns + after_ns, begin)
    else:
        begin(at_ns)


def _release(world: World, number: int, params: Params, at_ns: int) -> None:
    _chip(world, number, params).release(str(params["register"]))


def _upset(world: World, number: int, params: Params, at_ns: int) -> None:
    value = _value(params)
    assert value is not None  # it has a default
    _chip(world, number, params).upset(str(params["register"]), value, at_ns)


def _hold_alert(world: World, number: int, params: Params, at_ns: int) -> None:
    _alert_at(world, number, params["level"] == "high", at_ns)


def _free_alert(world: World, number: int, params: Params, at_ns: int) -> None:
    _alert_at(world, number, None, at_ns)


def _alert_at(world: World, number: int, level: bool | None, at_ns: int) -> None:
    expander, pin = world.alert_place[number]
    if expander is None:
        world.lines.hold(pin, level, at_ns)
    else:
        world.expanders[expander].hold(pin, level, at_ns)


def _alert_fitted(world: World, number: int, params: Params) -> None:
    if number not in world.alert_place:
        raise SimError(f"outlet {number} has no alert line")


_CHIP = Choice(CHIPS_AND_MUX, "which chip; of expanders the one that drives the outlet's relay")
_REGISTER = Word("peak_a", "of the chip; a wrong name is answered with the right ones")

REGISTERS: dict[str, FaultKind] = {
    "stuck": FaultKind(
        "one register of a chip stands still", "3 stuck --register peak_a --value 3000", _stick, _release,
        {
            "chip": _CHIP,
            "register": _REGISTER,
            "value": Number(None, 0, 0xFFFFFFFF, "as the chip holds it, 0x for hexadecimal; left out: its present one"),
            "after_s": Number(0, 0, 86_400, "seconds from now"),
        },
        shared=True, check=_register,
    ),
    "upset": FaultKind(
        "a register of settings is changed once, not by the controller",
        "3 upset --chip thermometer --register config --value 0x61a0", _upset, nothing,
        {
            "chip": _CHIP,
            "register": Word("config", _REGISTER.what),
            "value": Number(0x8000, 0, 0xFFFFFFFF, "its new value, 0x for hexadecimal"),
        },
        lasts=False, check=_setting,
    ),
    "alert_stuck": FaultKind(
        "the outlet's alert line stands still, whatever the meter says", "3 alert_stuck --level low",
        _hold_alert, _free_alert, {"level": Choice(("high", "low"), "high: it never alerts; low: always")},
        check=_alert_fitted,
    ),
}  # fmt: skip
