"""What tests of the guard begin and end with: outlets that charge, and how soon one lost its power."""

from cabinet.clock import MS, NS
from cabinet.link.protocol import Done
from cabinet.model import Phase
from tests.desk import Desk


def charging(desk: Desk, *outlets: int, load: str = "lead-acid-48v20ah") -> None:
    """Returns when each of them draws what it charges with."""
    for outlet in outlets:
        desk.plug(outlet, load, None if load.startswith("resistor") else 30)
        assert isinstance(desk.start(outlet), Done)
    assert desk.run(5 * NS, until=lambda: all(desk.outlet(n).phase is Phase.CHARGING for n in outlets))


def reaction_ms(desk: Desk, outlet: int) -> float:
    """From the fault's current to the first command that takes it away, by the simulator's journal."""
    journal = desk.world.journal.after(0)
    onset = max(r.at_ns for r in journal if r.kind == "fault_onset" and r.outlet == outlet)
    off = [r.at_ns for r in journal if (r.kind, r.outlet) in {("coil_off", outlet), ("contactor_off", None)}]
    return (min(at_ns for at_ns in off if at_ns > onset) - onset) / MS
