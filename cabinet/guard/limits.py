"""Conversion of the limits of `cabinet.toml` (plain SI) to the integer milli-units of the pure parts."""

from cabinet.charge import EndLimits
from cabinet.config.keys import Config, OutletSection
from cabinet.protections.inputs import CabinetLimits, ProtectionLimits

NS = 1_000_000_000


def milli(value: float) -> int:
    return round(1000 * value)


def nanoseconds(seconds: float) -> int:
    return round(NS * seconds)


def protection_limits(config: Config, outlet: OutletSection) -> ProtectionLimits:
    """Return the limits of one outlet's protections."""
    of = config.protections
    return ProtectionLimits(
        short_peak_ma=milli(of.short_circuit.peak_a),
        short_window_ns=nanoseconds(of.short_circuit.window_s),
        hard_peak_ma=milli(of.short_circuit.hard_peak_a),
        rated_ma=milli(of.overcurrent.rated_a),
        most_mw=milli(outlet.max_power_w),
        overpower_ns=nanoseconds(of.overpower.after_s),
        hot_trip_mc=milli(of.outlet_hot.trip_c),
        hot_warn_mc=milli(of.outlet_hot.warn_c),
        hot_rise_mc_per_min=milli(of.outlet_hot.rise_k_per_min),
        hot_rise_above_mc=milli(of.outlet_hot.rise_above_c),
        hot_hysteresis_mc=milli(of.outlet_hot.hysteresis_k),
        peak_lost_ns=nanoseconds(of.sensor_lost.peak_after_s),
        slow_lost_ns=nanoseconds(of.sensor_lost.slow_after_s),
        temperature_lost_ns=nanoseconds(of.sensor_lost.temperature_after_s),
        reset_ns=nanoseconds(of.sensor_reset.after_s),
        frozen_ns=nanoseconds(of.sensor_frozen.after_s),
        weld_ma=milli(of.relay_welded.current_a),
        weld_after_ns=nanoseconds(of.relay_welded.after_s),
        stuck_open_ns=nanoseconds(of.relay_stuck_open.after_s),
        late_ns=nanoseconds(of.guard_late.after_s),
        lowest_mv=milli(of.voltage.lowest_v),
        highest_mv=milli(of.voltage.highest_v),
        voltage_ns=nanoseconds(of.voltage.after_s),
        voltage_back_ns=nanoseconds(of.voltage.back_s),
        runaway_share=of.thermal_runaway.rise_share,
        runaway_mw=milli(of.thermal_runaway.rise_w),
        runaway_ns=nanoseconds(of.thermal_runaway.rise_for_s),
        storm_trips=of.reclose_storm.trips,
        storm_ns=nanoseconds(of.reclose_storm.within_s),
        half_cycle_ns=NS // (2 * config.hardware.frequency_hz),
        thermometer_fitted=outlet.thermometer is not None,
        parted_ns=nanoseconds(config.hardware.relay_release_s) + NS // (2 * config.hardware.frequency_hz),
    )


def cabinet_limits(config: Config) -> CabinetLimits:
    """Return the cabinet-wide limits."""
    of, feed = config.protections, config.feed
    return CabinetLimits(
        hot_trip_mc=milli(of.cabinet_hot.trip_c),
        hot_warn_mc=milli(of.cabinet_hot.warn_c),
        feed_mw=milli(feed.limit_w),
        feed_refuse_mw=milli(feed.refuse_share * feed.limit_w),
        feed_reserve_mw=milli(feed.reserve_w),
        feed_overload_ns=nanoseconds(feed.overload_s),
        disagree_share=of.sensor_disagrees.share,
        disagree_mw=milli(of.sensor_disagrees.power_w),
        disagree_warn_ns=nanoseconds(of.sensor_disagrees.warn_after_s),
        disagree_open_ns=nanoseconds(of.sensor_disagrees.open_after_s),
        weld_ma=milli(of.relay_welded.current_a),
        short_peak_ma=milli(of.short_circuit.peak_a),
        contactor_release_ns=nanoseconds(config.hardware.contactor_release_s),
    )


def end_limits(config: Config) -> EndLimits:
    """Return the limits at which a charge ends."""
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
