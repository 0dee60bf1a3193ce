"""Protections of the cabinet as a whole. Pure."""

from cabinet.model import Fault, Quality
from cabinet.protections.inputs import NS, CabinetInputs, CabinetLimits, OutletLoad

SMOKE_NS = NS // 10  # rejects a contact that bounces in the draught of a door
WATER_NS = NS
RESIDUAL_NS = 2_000_000  # confirmed by a second reading: the monitor has its own delay, 40 ms at 150 mA
SETTLE_NS = NS  # after an opening, until the sum is valid
WARN_NS = NS  # ten inrushes at once show in the meters' means for half a second


def measured_sum(loads: list[OutletLoad]) -> tuple[int, bool]:
    """Return the total power of all measured outlets, and whether that covers all outlets."""
    powers_mw = [load.power_mw for load in loads]
    known_mw = [power_mw for power_mw in powers_mw if power_mw is not None]
    return sum(known_mw), len(known_mw) == len(powers_mw)


def comparable(inputs: CabinetInputs) -> bool:
    """Return whether the outlets' sum and the cabinet's own meter are both known."""
    return inputs.feed_mw.quality is Quality.OK and measured_sum(inputs.loads)[1]


class _Contact:
    """An alarm contact that is open, or has a cut wire, for at least `least_ns`."""

    latched = True
    fault: Fault
    least_ns: int

    def __init__(self, limits: CabinetLimits) -> None:
        self._since_ns: int | None = None

    def _alarm(self, inputs: CabinetInputs) -> bool:
        raise NotImplementedError

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        if not self._alarm(inputs):
            self._since_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        past_ns = inputs.at_ns - self._since_ns
        return {"alarm_ms": past_ns // 1_000_000} if past_ns >= self.least_ns else None

    def warns(self, inputs: CabinetInputs) -> bool:
        return False

    def present(self, inputs: CabinetInputs) -> bool:
        return self._alarm(inputs)


class Smoke(_Contact):
    fault = Fault.SMOKE
    least_ns = SMOKE_NS

    def _alarm(self, inputs: CabinetInputs) -> bool:
        return inputs.smoke is True


class Water(_Contact):
    fault = Fault.WATER
    least_ns = WATER_NS

    def _alarm(self, inputs: CabinetInputs) -> bool:
        return inputs.water is True


class ResidualCurrent(_Contact):
    """Trip on the monitor's alarm, or if the monitor failed its test: residual current would then go undetected."""

    fault = Fault.RESIDUAL_CURRENT
    least_ns = RESIDUAL_NS

    def _alarm(self, inputs: CabinetInputs) -> bool:
        return inputs.residual is True and not inputs.residual_testing

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        return {"test_failed": 1} if inputs.residual_test_failed else super().step(inputs)


class CabinetHot:
    """Trip on hot air inside. A lost thermometer only causes a warning: each outlet has its own thermometer."""

    fault = Fault.CABINET_HOT
    latched = True

    def __init__(self, limits: CabinetLimits) -> None:
        self._limits = limits

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        inside = inputs.inside_mc
        if inside.quality is not Quality.OK or inside.value is None or inside.value < self._limits.hot_trip_mc:
            return None
        return {"temperature_mc": inside.value, "limit_mc": self._limits.hot_trip_mc}

    def warns(self, inputs: CabinetInputs) -> bool:
        return inputs.inside_mc.value is not None and inputs.inside_mc.value >= self._limits.hot_warn_mc

    def present(self, inputs: CabinetInputs) -> bool:
        return self.warns(inputs)


class FeedOverload:
    """Trip if all outlets together exceed the supply's capacity: the newest charge is opened first, then the next."""

    fault = Fault.FEED_OVERLOAD
    latched = False

    def __init__(self, limits: CabinetLimits) -> None:
        self._limits = limits
        self._since_ns: int | None = None
        self._opened_at_ns: int | None = None

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        """Judge the measured outlets; an unmeasured one, for a second at most, neither ends nor begins an overload."""
        sum_mw, complete = measured_sum(inputs.loads)
        if sum_mw <= self._limits.feed_mw:
            if complete:
                self._since_ns = self._opened_at_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        waited = self._opened_at_ns is None or inputs.at_ns - self._opened_at_ns >= SETTLE_NS
        if inputs.at_ns - self._since_ns < self._limits.feed_overload_ns or not waited:
            return None
        closed = [(load.closed_at_ns, load.outlet) for load in inputs.loads if load.closed_at_ns is not None]
        if not closed:
            return None
        self._opened_at_ns = inputs.at_ns
        return {"sum_mw": sum_mw, "limit_mw": self._limits.feed_mw, "outlet": max(closed)[1]}

    def full(self, inputs: CabinetInputs) -> bool:
        """Return whether no charge may begin: a charge that has just begun counts with the power it may reach."""
        reserved_mw = sum(
            load.power_mw
            if load.known and load.power_mw is not None
            else max(load.power_mw or 0, self._limits.feed_reserve_mw)
            for load in inputs.loads
            if load.closed_at_ns is not None
        )
        return reserved_mw > self._limits.feed_refuse_mw

    def warns(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None and inputs.at_ns - self._since_ns >= WARN_NS

    def present(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None


class SensorDisagrees:
    """Trip if the sum of the outlets differs from the cabinet's own meter: no protection covers unmeasured current.

    While one side is unknown there is nothing to compare (`comparable`), and the time of a difference restarts.
    """

    fault = Fault.SENSOR_DISAGREES
    latched = True

    def __init__(self, limits: CabinetLimits) -> None:
        self._limits = limits
        self._since_ns: int | None = None

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        feed = inputs.feed_mw
        if not comparable(inputs) or feed.value is None:
            self._since_ns = None
            return None
        sum_mw, _ = measured_sum(inputs.loads)
        allowed_mw = max(self._limits.disagree_mw, int(self._limits.disagree_share * feed.value))
        if abs(feed.value - sum_mw) <= allowed_mw:
            self._since_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        if inputs.at_ns - self._since_ns < self._limits.disagree_open_ns:
            return None
        return {"feed_mw": feed.value, "sum_mw": sum_mw, "limit_mw": allowed_mw}

    def warns(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None and inputs.at_ns - self._since_ns >= self._limits.disagree_warn_ns

    def present(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None
