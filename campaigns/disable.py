"""A pytest plug-in that disables one protection or one witness: a test that runs with it must fail.

The names come from the environment variables DISABLED_PROTECTION and DISABLED_WITNESS, which the product does not use.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from cabinet import safety


class Witness(NamedTuple):
    """A function that stops the guard from trusting a single register, line or copy; without it, `tests` must fail."""

    target: str  # module:attribute, or module:class.attribute
    instead: Any  # its return value, or the value itself if the target is not a function
    tests: tuple[str, ...]


_GUARD = "tests/unit/guard/"
_EVIDENCE, _SHORTS = _GUARD + "test_evidence.py", _GUARD + "test_shorts.py"
_STUCK, _KEPT = _GUARD + "test_stuck_registers.py", _GUARD + "test_kept_state.py"
_PROTECTIONS = "tests/unit/protections"

WITNESSES = {
    "peak at least the RMS": Witness("cabinet.protections.evidence:PeakBelowCurrent.step", None, (_PROTECTIONS,)),
    "power at most volt-amperes": Witness(
        "cabinet.protections.evidence:PowerAboveVoltAmperes.step", None, (_PROTECTIONS, _STUCK)
    ),
    "energy like power": Witness("cabinet.protections.evidence:EnergyUnlikePower.step", None, (_PROTECTIONS, _STUCK)),
    "peaks that repeat": Witness("cabinet.protections.evidence:Peaks._still", None, (_PROTECTIONS, _STUCK)),
    "registers that repeat": Witness("cabinet.protections.evidence:StillReads.step", None, (_PROTECTIONS, _STUCK)),
    "thermometer against its load": Witness(
        "cabinet.protections.stillness:StillThermometer.note",
        None,
        ("tests/unit/protections/test_stillness.py",),
    ),
    "settings of thermometers": Witness(
        "cabinet.hardware.tmp102:Tmp102.verify_next", None, ("tests/unit/hardware", _GUARD + "test_thermometers.py")
    ),
    "only fresh readings in sums": Witness(
        "cabinet.protections.sensor_disagrees:comparable", True, (_PROTECTIONS, _GUARD + "test_cabinet_faults.py")
    ),
    "gain of a silent input": Witness("cabinet.guard.outlet:OutletUnit.take_scale_check", False, (_STUCK,)),
    "RMS of a weld": Witness("cabinet.protections.relay_welded:UnexpectedRms.flows", False, (_PROTECTIONS, _STUCK)),
    "first window of a weld": Witness(
        "cabinet.protections.relay_welded:RelayWelded._short_through_it", None, (_PROTECTIONS, _EVIDENCE)
    ),
    "unknown counts as great": Witness("cabinet.guard.outlet:OutletUnit.current_unknown", False, (_EVIDENCE,)),
    "told is not done": Witness("cabinet.guard.contactor_break:ContactorBreak.conducts", False, (_EVIDENCE,)),
    "read-back before closing": Witness("cabinet.guard.contactor_break:ContactorBreak._read_back", True, (_EVIDENCE,)),
    "alert line beside a low peak": Witness("cabinet.guard.scan:Scanner._contradicted", False, (_EVIDENCE,)),
    "alert line without a peak": Witness(
        "cabinet.protections.short_circuit:UNANSWERED_HALF_CYCLES", 10**6, (_EVIDENCE,)
    ),
    "hang of its own channel": Witness("cabinet.guard.scan:Scanner._holder_of_bus", None, (_EVIDENCE,)),
    "peaks of a hung segment": Witness("cabinet.guard.scan:Scanner._salvage", (), (_EVIDENCE,)),
    "crosstalk above the ordinary": Witness("cabinet.guard.outlet:MAX_CROSSTALK_SHARE", 0.0, (_SHORTS,)),
    "first reason of a latch": Witness(
        "cabinet.guard.switching:_keeps_first_reason", False, (_GUARD + "test_second_faults.py",)
    ),
    "first reason of the cabinet's latch": Witness(
        "cabinet.guard.cabinet:CabinetUnit.keeps_first_reason", False, (_GUARD + "test_second_faults.py",)
    ),
    "copy in the keeper's memory": Witness("cabinet.guard.counters:MemoryCopy.read", None, (_KEPT,)),
    "room for a latch": Witness(
        "cabinet.guard.state_files:StateWriter.writable", property(lambda self: True), (_KEPT,)
    ),
    "step of a charger": Witness("cabinet.protections.thermal_runaway:STEP_SHARE", 10**6, ("tests/unit/protections",)),
}


def blind(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same protection, made to never trip."""

    class Blind(kind):  # type: ignore[misc, valid-type]
        def step(self, inputs: Any) -> None:
            super().step(inputs)

        def step_slow(self, inputs: Any) -> None:  # of outlets' protections only
            super().step_slow(inputs)

    Blind.__module__ = kind.__module__  # for tests that read the source of its module
    return Blind


def pytest_configure() -> None:
    if name := os.environ.get("DISABLED_PROTECTION"):
        for table in ("PROTECTIONS", "CABINET_PROTECTIONS"):
            kinds = tuple(blind(kind) if kind.fault.value == name else kind for kind in getattr(safety, table))
            setattr(safety, table, kinds)
    if name := os.environ.get("DISABLED_WITNESS"):
        take_away(WITNESSES[name])


def take_away(witness: Witness) -> None:
    """Replace the target of `witness` with its `instead`. Raises AttributeError if there is no such target."""
    module, _, path = witness.target.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, last = path.split(".")
    for name in classes:
        owner = getattr(owner, name)
    is_function = callable(getattr(owner, last)) and not isinstance(witness.instead, property)
    setattr(owner, last, (lambda *_, **__: witness.instead) if is_function else witness.instead)
