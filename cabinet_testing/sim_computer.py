"""A slow computer under the manual clock: its own time passes with each transfer and at the end of each turn."""

from collections.abc import Sequence

from msgspec import structs

from cabinet.clock import NS, ManualClock
from cabinet.config import Config
from cabinet.sim.smbus import Message, SmbusCalls
from cabinet.sim.world import World
from cabinet.system import computers
from cabinet.system.computers import COMPUTERS, HERE, ComputerModel

# Share of the interpreter's time that passes between the transfers of a scan, with reading and judging: 443 of 622 us
# of a turn of the loop over a tape without wire time (bench.tape, ten outlets). The rest passes at the turn's end.
WITH_TRANSFERS = 0.71
# Settings that are no one's configuration: the period is the one of the computer as it should be.
_CONFIGURED_AS = {"pi4-200khz": "pi4", "pi4-600": "pi4"}

_chosen = HERE


def choose(name: str) -> None:
    """Select the computer of every `SimCabinet` of this process: a name of `COMPUTERS`, or `here`. Raises KeyError."""
    global _chosen
    if name != HERE:
        COMPUTERS[name]
    _chosen = name


def chosen() -> "SimComputer | None":
    """Return the selected computer; None for `here`, where only the wire takes time."""
    return None if _chosen == HERE else SimComputer(COMPUTERS[_chosen], COMPUTERS[_CONFIGURED_AS.get(_chosen, _chosen)])


class SimComputer:
    """One computer in a simulated cabinet. `expected` is the computer that the scan period is configured for."""

    def __init__(self, model: ComputerModel, expected: ComputerModel | None = None) -> None:
        self.model = model
        self._expected = expected or model

    def configured(self, config: Config) -> Config:
        """Return the configuration with the scan period that `cabinet check` asks for."""
        period_s = max(config.guard.scan_period_s, self._expected.period_ns(config) / NS)
        return structs.replace(config, guard=structs.replace(config.guard, scan_period_s=period_s))

    def bus(self, bus: SmbusCalls, config: Config, world: World, clock: ManualClock) -> SmbusCalls:
        """Return `bus` as this computer drives it: at its true speed, with the time of each transfer."""
        world.bus.set_speed(config.hardware.bus_speed_hz * self.model.bus_share)
        transfer_ns = self.model.kernel_ns + round(WITH_TRANSFERS * self._own_ns(config) / computers.transfers(config))
        return _SlowBus(bus, world, clock, transfer_ns)

    def rest_ns(self, config: Config) -> int:
        """Return the time of a turn that is not spent with its transfers."""
        return round((1 - WITH_TRANSFERS) * self._own_ns(config))

    def _own_ns(self, config: Config) -> int:
        return self.model.own_ns(len(config.outlet))


class _SlowBus(SmbusCalls):
    """A bus with a processor before it: half of a transfer's own time passes before the bits, half after them."""

    def __init__(self, bus: SmbusCalls, world: World, clock: ManualClock, transfer_ns: int) -> None:
        self._bus = bus
        self._world = world
        self._clock = clock
        self._half_ns = transfer_ns // 2

    def transfer(self, messages: Sequence[Message]) -> bytes:
        self._clock.advance_ns(self._half_ns)
        try:
            return self._bus.transfer(messages)
        finally:
            self._clock.advance_ns(self._half_ns)
            self._world.advance_to(self._clock.monotonic_ns())

    def close(self) -> None:
        self._bus.close()
