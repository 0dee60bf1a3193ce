"""Charges of a simulated cabinet, and the reaction time to a fault."""

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import Phase
from cabinet_testing.sim_cabinet import SimCabinet


def charging(sim: SimCabinet, *outlets: int, load: str = "lead-acid-48v20ah") -> None:
    """Plug in and start; return when all of them charge."""
    for outlet in outlets:
        sim.plug(outlet, load, None if load.startswith("resistor") else 30)
        assert isinstance(sim.start(outlet), Done)
    assert sim.run(5 * NS, until=lambda: all(sim.outlet(n).phase is Phase.CHARGING for n in outlets))


def reaction_ms(sim: SimCabinet, outlet: int) -> float:
    """Return the time from the fault's current to the first command that ends it, by the simulator's journal, in ms."""
    journal = sim.world.journal.after(0)
    onset = max(r.at_ns for r in journal if r.kind == "fault_onset" and r.outlet == outlet)
    off = [r.at_ns for r in journal if (r.kind, r.outlet) in {("coil_off", outlet), ("contactor_off", None)}]
    return (min(at_ns for at_ns in off if at_ns > onset) - onset) / MS
