"""The simulator's server in a thread, with both of its sockets."""

import threading
from pathlib import Path

from cabinet.clock import SystemClock
from cabinet.sim.build import build_world
from cabinet.sim.server import SimServer
from cabinet_testing.sim_hardware import demo_config

WITHIN_S = 10.0  # only so that a broken build does not hang


class RunningSimServer:
    """A server in a thread of this process."""

    def __init__(self, run: Path, strict_gpio: bool = False) -> None:
        self.world = build_world(demo_config(), SystemClock(), noise=False)
        self.server = SimServer(self.world, run, strict_gpio)
        self.bus_path = run / "sim.sock"
        self.control_path = run / "sim-control.sock"
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()
        self.server.close()
