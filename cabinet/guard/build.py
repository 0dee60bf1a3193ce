"""Builder of the guard from the configuration, a bus and a pin factory, which are real or simulated."""

import msgspec
from gpiozero import OutputDevice
from gpiozero.pins import Factory

from cabinet.charge import EndLimits
from cabinet.clock import NS, Clock
from cabinet.config.keys import Config, OutletSection
from cabinet.guard.alerts import AlertLines
from cabinet.guard.contacts import Contacts
from cabinet.guard.counters import Counters
from cabinet.guard.guard import Guard
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.phase import MainsPhase
from cabinet.guard.probe import Prober, probe_targets
from cabinet.guard.recorder import Recorder
from cabinet.guard.round_robin import RoundRobinReader
from cabinet.guard.scan import Scanner
from cabinet.guard.segment import Input, Segment
from cabinet.guard.state_files import StateWriter
from cabinet.guard.thermometer import Thermometer
from cabinet.hardware.ade7953 import ADDRESS as METER_ADDRESS
from cabinet.hardware.ade7953 import Ade7953, Gain, Scale
from cabinet.hardware.bus import Bus, ChipPort, Muxes
from cabinet.hardware.tmp102 import NAME as TMP102
from cabinet.hardware.tmp102 import Tmp102
from cabinet.protections.inputs import OutletInputs
from cabinet.protections.stillness import StillThermometer
from cabinet.relays import RelayBank
from cabinet.sections import in_milli_units, milli, nanoseconds


def build_guard(
    config: Config,
    bus: Bus,
    pins: Factory,
    clock: Clock,
    counters: Counters,
    state_writer: StateWriter,
    recorder: Recorder,
    realtime: bool,
    idle_period_ns: int = 0,
) -> tuple[Guard, AlertLines]:
    """Return a started guard and the lines that wake its loop: all open, sensors up as far as they answer."""
    if idle_period_ns and not config.simulated:
        raise ValueError("a guard of real outlets does not idle")
    relays, contacts = RelayBank.from_config(config, bus, pins, clock), Contacts(config.hardware, pins)
    ends = msgspec.convert(in_milli_units(config.charge), EndLimits)
    units = [OutletUnit(config, outlet, ends, counters.meter(index)) for index, outlet in enumerate(config.outlet)]
    alerts = AlertLines.from_config(config, bus, pins, clock)
    scanner = _scanner(config, bus, pins, clock, units, alerts, counters)
    guard = Guard(
        config,
        clock,
        units,
        relays,
        contacts,
        scanner,
        alerts,
        counters,
        state_writer,
        recorder,
        realtime,
        idle_period_ns,
    )
    guard.start()
    return guard, alerts


def _scanner(
    config: Config,
    bus: Bus,
    pins: Factory,
    clock: Clock,
    units: list[OutletUnit],
    alerts: AlertLines,
    counters: Counters,
) -> Scanner:
    """Return the scanner of the sensor side, wired as in the configuration."""
    hardware = config.hardware
    muxes = Muxes(bus, hardware.muxes)
    inside = hardware.inside_thermometer

    def add_energy(index: int, energy_uj: int) -> None:
        """Add the energy read from the registers of an outlet, and save it at once."""
        meter = units[index].meter
        meter.add_energy(energy_uj)
        counters.save(index, meter)

    def active_low(pin: int | None) -> OutputDevice | None:
        return None if pin is None else OutputDevice(pin, active_high=False, pin_factory=pins)

    outlets = [unit.inputs for unit in units]
    segments = _segments(config, bus, muxes, outlets, clock)
    thermometer = None if inside is None else _inside(config, ChipPort(bus, TMP102, inside), clock)
    return Scanner(
        segments=segments,
        outlets=outlets,
        slow=RoundRobinReader(segments, outlets, thermometer, add_energy, clock),
        muxes=muxes,
        mux_reset=active_low(hardware.mux_reset_pin),
        clock_out_line=active_low(hardware.clock_out_pin),
        phase=MainsPhase(NS // (2 * hardware.frequency_hz)),
        alert_peak_ma=milli(config.protections.short_circuit.peak_a),
        clock=clock,
        line_low=lambda index: alerts.is_low(units[index].number),
        new_prober=lambda: Prober(bus, muxes, probe_targets(config)),
    )


def _segments(config: Config, bus: Bus, muxes: Muxes, outlet_inputs: list[OutletInputs], clock: Clock) -> list[Segment]:
    """Return one segment for each mux channel that has a meter, in the order of the channels."""
    scale = Scale(milli(config.hardware.current_full_scale_a), milli(config.hardware.voltage_full_scale_v))
    behind: dict[tuple[int, int], list[tuple[int, OutletSection]]] = {}
    for index, outlet in enumerate(config.outlet):
        behind.setdefault((outlet.meter.mux, outlet.meter.channel), []).append((index, outlet))
    segments = []
    feed = config.hardware.feed_meter
    if feed is not None:
        behind.setdefault((feed.mux, feed.channel), [])
    for (mux, channel), outlets in sorted(behind.items()):
        port = ChipPort(bus, "ADE7953", METER_ADDRESS, muxes, mux, channel)
        gains = {o.meter.input: Gain(o.meter.current_gain, o.meter.power_gain) for _, o in outlets}
        inputs = [Input(o.meter.input, index) for index, o in outlets]
        name = f"segment 0x{mux:02x}/{channel}"
        thermometers = _thermometers(config, bus, muxes, (mux, channel), outlet_inputs, clock)
        feed_input = feed.input if feed is not None and (feed.mux, feed.channel) == (mux, channel) else None
        if feed is not None and feed_input is not None:
            gains[feed_input] = Gain(feed.current_gain, feed.power_gain)
        segments.append(Segment(name, Ade7953(port, scale, gains, clock), inputs, thermometers, feed_input))
    return segments


def _thermometers(
    config: Config, bus: Bus, muxes: Muxes, meter: tuple[int, int], outlet_inputs: list[OutletInputs], clock: Clock
) -> list[Thermometer]:
    """Return the thermometers read together with the meter of this channel: those of its outlets, on any channel."""
    served: dict[tuple[int, int, int], list[OutletInputs]] = {}
    for index, outlet in enumerate(config.outlet):
        at = outlet.thermometer
        if at is not None and (outlet.meter.mux, outlet.meter.channel) == meter:
            served.setdefault((at.mux, at.channel, at.address), []).append(outlet_inputs[index])
    of = config.protections
    return [
        Thermometer(
            Tmp102(ChipPort(bus, TMP102, address, muxes, at_mux, at_channel)),
            beside,
            milli(of.outlet_hot.trip_c),
            StillThermometer(milli(of.sensor_frozen.load_a), milli(of.sensor_frozen.neighbours_k)),
            nanoseconds(of.sensor_lost.slow_after_s),
            clock,
        )
        for (at_mux, at_channel, address), beside in served.items()
    ]


def _inside(config: Config, port: ChipPort, clock: Clock) -> Thermometer:
    """Return the thermometer of the air inside: no load warms it directly."""
    of = config.protections
    watch = StillThermometer(None, milli(of.sensor_frozen.neighbours_k))
    return Thermometer(
        Tmp102(port), (), milli(of.cabinet_hot.trip_c), watch, nanoseconds(of.sensor_lost.slow_after_s), clock
    )
