"""Comparison of the outlets' sum with the cabinet's own meter. Pure."""

from typing import Annotated

from cabinet.model import Fault, Quality
from cabinet.protections.inputs import CabinetInputs, CabinetProtection, measured_sum
from cabinet.sections import NS, Section, number

# So much more than the outlets measure (30 A at 220 V) is a short behind a sensor that does not show it.
SHORT_MW = 6_600_000
# For each outlet: until each of them has been read again. After a short was cut, its power stays in the cabinet's meter
# for up to 0.4 s, and charges that begin show there before they show in the sum.
SHORT_AFTER_NS, MIN_SHORT_AFTER_NS = NS // 20, NS // 2


class SensorDisagreesSection(Section, frozen=True):
    """The sum of the outlets against the cabinet's own meter, if one is fitted: all open, latched."""

    ASCENDING = (("warn_after_s", "open_after_s"),)
    share: Annotated[float, number("of the cabinet's power that may be missing", above=0, most=0.5)] = 0.1
    power_w: Annotated[float, number("and at least so much (0.5 A at 220 V)", least=20, most=2000)] = 110.0
    warn_after_s: Annotated[float, number("staff are warned", least=1, most=60)] = 2.0
    open_after_s: Annotated[float, number("all open", least=2, most=120)] = 10.0


def comparable(inputs: CabinetInputs) -> bool:
    """Return whether the outlets' sum and the cabinet's own meter are both known."""
    return inputs.feed_mw.quality is Quality.OK and measured_sum(inputs.loads)[1]


class SensorDisagrees(CabinetProtection):
    """Trip if the sum of the outlets differs from the cabinet's own meter: no protection covers unmeasured current.

    A difference as great as a short's trips within half a second with ten outlets. While one side is unknown there is
    nothing to compare (`comparable`), and the time of a difference restarts.
    """

    fault = Fault.SENSOR_DISAGREES
    section = SensorDisagreesSection
    latched = True
    hides_current = True
    share: float
    power_mw: int
    warn_after_ns: int
    open_after_ns: int
    _since_ns: int | None = None
    _short_since_ns: int | None = None  # time of the first reading of the cabinet's meter with such a difference

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        feed = inputs.feed_mw
        if not comparable(inputs) or feed.value is None:
            self._since_ns = self._short_since_ns = None
            return None
        sum_mw, _ = measured_sum(inputs.loads)
        if feed.value - sum_mw < SHORT_MW:
            self._short_since_ns = None
        elif self._short_since_ns is None:
            self._short_since_ns = feed.at_ns
        elif feed.at_ns - self._short_since_ns >= max(MIN_SHORT_AFTER_NS, SHORT_AFTER_NS * len(inputs.loads)):
            return {"feed_mw": feed.value, "sum_mw": sum_mw, "limit_mw": SHORT_MW}
        allowed_mw = max(self.power_mw, int(self.share * feed.value))
        if abs(feed.value - sum_mw) <= allowed_mw:
            self._since_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        if inputs.at_ns - self._since_ns < self.open_after_ns:
            return None
        return {"feed_mw": feed.value, "sum_mw": sum_mw, "limit_mw": allowed_mw}

    def warns(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None and inputs.at_ns - self._since_ns >= self.warn_after_ns

    def present(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None
