"""Turns the limits of `cabinet.toml` (plain SI) into the integer milli-units that the pure parts work in."""

from cabinet.charge import EndLimits
from cabinet.config.keys import Config, Outlet
from cabinet.safety import Limits

NS = 1_000_000_000


def milli(value: float) -> int:
    return round(1000 * value)


def nanoseconds(seconds: float) -> int:
    return round(NS * seconds)


def protection_limits(config: Config, outlet: Outlet) -> Limits:
    """Limits of one outlet's protections."""
    of = config.protections
    return Limits(
        short_peak_ma=milli(of.short_circuit.peak_a),
        short_window_ns=nanoseconds(of.short_circuit.window_s),
        hard_peak_ma=milli(of.short_circuit.hard_peak_a),
        rated_ma=milli(of.overcurrent.rated_a),
        hot_trip_mc=milli(of.outlet_hot.trip_c),
        hot_warn_mc=milli(of.outlet_hot.warn_c),
        hot_rise_mc_per_min=milli(of.outlet_hot.rise_k_per_min),
        hot_rise_above_mc=milli(of.outlet_hot.rise_above_c),
        hot_hysteresis_mc=milli(of.outlet_hot.hysteresis_k),
        peak_lost_ns=nanoseconds(of.sensor_lost.peak_after_s),
        slow_lost_ns=nanoseconds(of.sensor_lost.slow_after_s),
        temperature_lost_ns=nanoseconds(of.sensor_lost.temperature_after_s),
        weld_ma=milli(of.relay_welded.current_a),
        weld_after_ns=nanoseconds(of.relay_welded.after_s),
        late_ns=nanoseconds(of.guard_late.after_s),
        lowest_mv=milli(of.voltage.lowest_v),
        highest_mv=milli(of.voltage.highest_v),
        half_cycle_ns=NS // (2 * config.hardware.frequency_hz),
        thermometer_fitted=outlet.thermometer is not None,
    )


def end_limits(config: Config) -> EndLimits:
    """When a charge is over."""
    charge = config.charge
    return EndLimits(
        full_floor_mw=milli(charge.full_floor_w),
        full_share=charge.full_share,
        full_hold_ns=nanoseconds(charge.full_hold_s),
        full_hysteresis_mw=milli(charge.full_hysteresis_w),
        unplugged_mw=milli(charge.unplugged_w),
        unplugged_hold_ns=nanoseconds(charge.unplugged_hold_s),
        no_load_mw=milli(charge.no_load_w),
        no_load_ns=nanoseconds(charge.no_load_s),
        crosstalk_share=charge.crosstalk_share,
        max_duration_ms=milli(charge.max_duration_s),
    )
