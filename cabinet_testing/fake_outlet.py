"""One outlet of the fake guard."""

from cabinet.model import ABSENT, ChargeLimits, EndReason, Fault, MeterCount, OutletState, Phase, Quality, Reading


class FakeOutlet:
    """One outlet: its counters live with the keeper, the rest with the guard."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.energy_uwh = 0
        self.powered_ms = 0
        self.charging_ms = 0
        self.forget()

    def forget(self) -> None:
        self.session_id: str | None = None
        self.limits = ChargeLimits()
        self.loaded = False
        self.base = MeterCount()
        self.used = MeterCount()
        self.power_mw = 0
        self.fault: Fault | None = None
        self.latched = False
        self.refusal: str | None = None
        self.note: str | None = None
        self.trial = False

    def count(self) -> MeterCount:
        return MeterCount(self.energy_uwh // 1000, self.powered_ms, self.charging_ms)

    def charge_count(self) -> MeterCount:
        now, base, used = self.count(), self.base, self.used
        return MeterCount(
            used.energy_mwh + now.energy_mwh - base.energy_mwh,
            used.powered_ms + now.powered_ms - base.powered_ms,
            used.charging_ms + now.charging_ms - base.charging_ms,
        )

    def limit(self) -> EndReason | None:
        """Return the limit that the charge has reached, or None."""
        count, limits = self.charge_count(), self.limits
        if limits.charging_s is not None and count.charging_ms >= 1000 * limits.charging_s:
            return EndReason.LIMIT_TIME
        time_s, energy = limits.money_charging_s, limits.money_energy_mwh
        if (time_s is not None and count.charging_ms >= 1000 * time_s) or (
            energy is not None and count.energy_mwh >= energy
        ):
            return EndReason.LIMIT_MONEY
        return None

    def state(self, now_ns: int) -> OutletState:
        held = self.session_id is not None
        phase = Phase.CHARGING if self.loaded else Phase.WAITING_FOR_LOAD
        return OutletState(
            outlet=self.number,
            closed=held,
            phase=phase if held else Phase.IDLE,
            session_id=self.session_id,
            peak_ma=ABSENT,
            current_ma=ABSENT,
            voltage_mv=Reading(220_000, now_ns, Quality.OK),
            power_mw=Reading(self.power_mw, now_ns, Quality.OK),
            temperature_mc=Reading(25_000, now_ns, Quality.OK),
            count=self.count(),
            charge_count=self.charge_count(),
            fault=self.fault,
            latched=self.latched,
            why={},
            refusal="outlet_busy" if held else self.refusal,
            note=self.note,
            trial=self.trial,
        )
