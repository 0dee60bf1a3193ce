"""Fixtures of the simulator's tests; the classes behind them are in `bench`."""

from tests.sim.bench import cabinet, meter

__all__ = ["cabinet", "meter"]
