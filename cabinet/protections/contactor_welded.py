"""Welded contactor: current although it is open. Its limits are those of a welded relay. Pure."""

from cabinet.model import Fault
from cabinet.protections.inputs import SQRT2_PER_MILLE, CabinetInputs, CabinetProtection, Configuration
from cabinet.protections.relay_welded import UnexpectedPeaks, UnexpectedRms
from cabinet.sections import milli, nanoseconds


class ContactorWelded(CabinetProtection):
    """Trip on current although the contactor is open: the backup for a welded relay has failed."""

    fault = Fault.CONTACTOR_WELDED
    latched = True
    siren = True
    each_tick = True

    def __init__(self, config: Configuration) -> None:
        super().__init__(config)
        self._limit_ma = milli(config.protections.relay_welded.current_a)
        self._peak_limit_ma = self._limit_ma * SQRT2_PER_MILLE // 1000
        self._short_peak_ma = milli(config.protections.short_circuit.peak_a)
        self._release_ns = nanoseconds(config.hardware.contactor_release_s)
        self._hits = UnexpectedPeaks(self._short_peak_ma)
        self._means = UnexpectedRms(self._limit_ma)

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        window, open_at_ns = inputs.highest_window, inputs.contactor_open_at_ns
        if open_at_ns is None:
            self._hits.clear()
            self._means.clear()
            return None
        if self._means.add(inputs.highest_current_ma, 0, open_at_ns):
            return {"current_ma": self._means.current_ma, "limit_ma": self._limit_ma}
        if window is None or window.from_ns < open_at_ns + self._release_ns:
            return None
        if window.peak_ma <= self._peak_limit_ma:
            return None
        self._hits.add(window)
        if window.peak_ma <= self._short_peak_ma and not self.present(inputs):
            return None  # above a short's limit it is no disturbance: the first window is enough
        return {"peak_ma": window.peak_ma, "limit_ma": self._peak_limit_ma}

    def present(self, inputs: CabinetInputs) -> bool:
        return self._hits.flows(inputs.at_ns) or self._means.flows(inputs.at_ns)
