"""Load of the supply of the whole cabinet. Pure."""

from typing import Annotated

from cabinet.model import Fault
from cabinet.protections.inputs import CabinetInputs, CabinetProtection, Configuration, measured_sum
from cabinet.sections import NS, Section, milli, nanoseconds, number

SETTLE_NS = NS  # after an opening, until the sum is valid
WARN_NS = NS  # ten inrushes at once show in the meters' means for half a second


class FeedSection(Section, frozen=True):
    """Maximum load of the supply of the whole cabinet."""

    limit_w: Annotated[float, number("power the cabinet's supply may give, of all outlets", least=200, most=50_000)] = (
        7000.0
    )
    refuse_share: Annotated[float, number("no charge begins above this share of the limit", above=0.1, most=1)] = 0.9
    reserve_w: Annotated[
        float, number("counted for a charge that has just begun, until its power is known", least=0, most=3500)
    ] = 200.0
    overload_s: Annotated[
        float, number("above the limit for so long ends charges, the newest first", least=1, most=60)
    ] = 5.0


class FeedOverload(CabinetProtection):
    """Trip if all outlets together exceed the supply's capacity: the newest charge is opened first, then the next."""

    fault = Fault.FEED_OVERLOAD
    latched = False

    def __init__(self, config: Configuration) -> None:
        super().__init__(config)
        feed = config.feed
        self._limit_mw = milli(feed.limit_w)
        self._refuse_mw = milli(feed.refuse_share * feed.limit_w)
        self._reserve_mw = milli(feed.reserve_w)
        self._overload_ns = nanoseconds(feed.overload_s)
        self._since_ns: int | None = None
        self._opened_at_ns: int | None = None

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        """Judge the measured outlets; an unmeasured one, for a second at most, neither ends nor begins an overload."""
        sum_mw, complete = measured_sum(inputs.loads)
        if sum_mw <= self._limit_mw:
            if complete:
                self._since_ns = self._opened_at_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        waited = self._opened_at_ns is None or inputs.at_ns - self._opened_at_ns >= SETTLE_NS
        if inputs.at_ns - self._since_ns < self._overload_ns or not waited:
            return None
        closed = [(load.closed_at_ns, load.outlet) for load in inputs.loads if load.closed_at_ns is not None]
        if not closed:
            return None
        self._opened_at_ns = inputs.at_ns
        return {"sum_mw": sum_mw, "limit_mw": self._limit_mw, "outlet": max(closed)[1]}

    def full(self, inputs: CabinetInputs) -> bool:
        """Return whether no charge may begin: a charge that has just begun counts with the power it may reach."""
        reserved_mw = sum(
            load.power_mw if load.known and load.power_mw is not None else max(load.power_mw or 0, self._reserve_mw)
            for load in inputs.loads
            if load.closed_at_ns is not None
        )
        return reserved_mw > self._refuse_mw

    def warns(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None and inputs.at_ns - self._since_ns >= WARN_NS

    def present(self, inputs: CabinetInputs) -> bool:
        return self._since_ns is not None
