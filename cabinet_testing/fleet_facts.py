"""Facts of a simulated cabinet, as messages for the fleet's ingest."""

import msgspec

from cabinet.clock import WallTime
from cabinet.model import Fault
from cabinet.uplink import messages
from cabinet.uplink.messages import AlarmChanged, Fact, Facts, TripReport
from fleet.ingest import Incoming
from fleet.sim.cabinets import SimulatedCabinet

WALL = WallTime(1_780_000_000_000, True)


def simulated(charges: int = 4, cabinet: str = "c-one", epoch: str = "epoch-1") -> SimulatedCabinet:
    """Return a cabinet with charges in its outbox, each with an alarm, and a trip: three facts a charge and one.

    Each epoch alarms at an outlet of its own: between two epochs of a cabinet there is no order.
    """
    sim = SimulatedCabinet(cabinet, {}, lambda *_: None, epoch=epoch)
    alarmed = int(epoch.rpartition("-")[2])
    for number in range(charges):
        sim.start(number % 10 + 1)
        sim.write(AlarmChanged(alarmed, Fault.OUTLET_HOT, number % 2 == 0, WALL))
        sim.settle(number % 10 + 1, cost_fen=10 + number)
    sim.write(TripReport(2, Fault.OVERPOWER, WALL, 30_000, None))
    return sim


def payload(sim: SimulatedCabinet, *numbers: int) -> Incoming:
    """Return one message with these facts."""
    found = [Fact(number, msgspec.Raw(sim.facts[number])) for number in numbers]
    return Incoming(sim.cabinet, messages.encode(Facts(sim.epoch, found)))
