"""Build a simulated cabinet from a configuration: chips on their bus segments, lines, relays, meters."""

import random

from cabinet.clock import Clock
from cabinet.config.keys import Config
from cabinet.config.keys import MeterSection as MeterConfig
from cabinet.config.keys import OutletSection as OutletConfig
from cabinet.config.wiring import PinRef
from cabinet.sim.bus import Segment
from cabinet.sim.chips import ade7953
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.chips.ade7953_interrupts import OnPin
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet.sim.contacts import INPUTS, Contact, ResidualMonitor, Siren
from cabinet.sim.faults import FAULTS, FaultTable
from cabinet.sim.feed import FeedMeter
from cabinet.sim.outlet import Outlet
from cabinet.sim.world import World

# Share of the current on one input of a meter chip that appears in the peaks of the other. The change log of a pile's
# firmware states that it subtracts 0.5 % of the neighbours' power. Others saw 1 % (100 W elsewhere, 1 W here): see
# `tolerances`.
CROSSTALK_SHARE = 0.005
SHARED_HEAT = 0.7  # share of each contact's heat that reaches a thermometer between two outlets


def build_world(
    config: Config, clock: Clock, seed: int | None = None, *, noise: bool = True, awake: bool = True
) -> World:
    """Return the cabinet of `config`, its supply on for 10 s (`awake`) or switched on at this moment.

    `seed` determines everything random (default: the configuration's seed). Without `noise` the meters read exactly.
    """
    world = World(
        clock,
        config.hardware.bus_speed_hz,
        config.simulator.mains_v,
        config.hardware.frequency_hz,
        config.simulator.ambient_c,
        config.simulator.seed if seed is None else seed,
        FaultTable(FAULTS),
    )
    return _Builder(world, config, noise, awake).build()


class _Builder:
    def __init__(self, world: World, config: Config, noise: bool, awake: bool) -> None:
        self._world = world
        self._config = config
        self._noise = noise
        self._on_ns = world.timeline.now_ns - (10_000_000_000 if awake else 0)
        self._awake = awake
        self._segments: dict[tuple[int, int], Segment] = {}
        self._pins: dict[tuple[int, int, str], PinRef] = {}  # alert lines: (mux, channel, chip pin) to the line's end
        self._coils: dict[int, dict[int, int]] = {}  # expander address, pin: outlet

    def build(self) -> World:
        world, hardware = self._world, self._config.hardware
        for address in hardware.muxes:
            for channel, segment in world.bus.add_mux(address).items():
                self._segments[address, channel] = segment
        muxes = dict(zip(hardware.muxes, world.bus.muxes, strict=True))
        for place in self._config.outlet:
            outlet = Outlet(place.number, world.timeline, world.journal, world.rng)
            outlet.on_current = world.current_changed
            world.outlets[place.number] = outlet
            world.segment_of[place.number] = self._segments[place.meter.mux, place.meter.channel]
            world.mux_of[place.number] = muxes[place.meter.mux]
            self._wire_relay(place)
        interrupts = {fitted.address: fitted.interrupt_pin for fitted in hardware.alert_expanders}
        for address in sorted({*hardware.expanders, *interrupts}):
            self._add_expander(address, interrupts.get(address))
        for place in self._config.outlet:
            self._wire_alert(place)
            self._add_meter(place)
            self._add_thermometer(place)
        self._add_feed_meter()
        self._wire_cabinet()
        self._wire_contacts()
        world.change_mains(world.timeline.now_ns)
        world.bus.rejoin()
        world.timeline.advance_to(world.timeline.now_ns)
        return world

    def _wire_relay(self, place: OutletConfig) -> None:
        at = PinRef.parse(place.relay)
        self._world.coil_place[place.number] = (at.expander, at.pin)
        if at.expander is None:
            self._world.lines.wire(at.pin, False, lambda high, t: self._world.set_coil(place.number, high, t))
        else:
            self._coils.setdefault(at.expander, {})[at.pin] = place.number

    def _wire_alert(self, place: OutletConfig) -> None:
        if place.alert is None:
            return
        at = PinRef.parse(place.alert)
        pin = ade7953.PIN_IRQ if place.meter.input == "A" else ade7953.PIN_ZX
        self._pins[place.meter.mux, place.meter.channel, pin] = at
        self._world.alert_place[place.number] = (at.expander, at.pin)
        if at.expander is None:
            self._world.lines.wire(at.pin, True)
        else:
            self._world.expanders[at.expander].set_level(at.pin, True, self._world.timeline.now_ns)

    def _add_expander(self, address: int, interrupt_pin: int | None) -> None:
        world, coils = self._world, self._coils.get(address, {})

        def tell_coils(driven: int, at_ns: int) -> None:
            for pin, number in coils.items():
                world.set_coil(number, bool(driven >> pin & 1), at_ns)

        def outputs(driven: int, at_ns: int) -> None:
            world.timeline.at(at_ns, lambda t: tell_coils(driven, t))  # STOP may be slightly in the future

        def interrupt(high: bool, at_ns: int) -> None:
            if interrupt_pin is not None:
                world.lines.outside(interrupt_pin, high, at_ns)

        if interrupt_pin is not None:
            world.lines.wire(interrupt_pin, True)
        expander = Mcp23017(outputs, interrupt)
        world.expanders[address] = expander
        world.bus.upstream.add(address, expander)

    def _add_meter(self, place: OutletConfig) -> None:
        chip = self._meter_chip(place.meter)
        self._world.outlets[place.number].meter = (chip, place.meter.input)
        self._world.fitted_crosstalk[place.number] = (CROSSTALK_SHARE if self._noise else 0.0, False)

    def _add_feed_meter(self) -> None:
        meter = self._config.hardware.feed_meter
        if meter is not None:
            self._world.feed_meter = FeedMeter(self._meter_chip(meter), meter.input)

    def _meter_chip(self, meter: MeterConfig) -> Ade7953:
        """Return the chip on that mux channel, created for its first input, with the input's sensor scaled."""
        world, hardware = self._world, self._config.hardware
        segment = self._segments[meter.mux, meter.channel]
        chip = segment.chips.get(ade7953.ADDRESS)
        if chip is None:
            chip = Ade7953(
                hardware.current_full_scale_a,
                hardware.voltage_full_scale_v,
                world.timeline.at,
                self._alert_lines(meter.mux, meter.channel),
                self._on_ns,
                world.rng.getrandbits(32) if self._noise else None,
            )
            if self._noise:
                chip.set_crosstalk(CROSSTALK_SHARE, self._on_ns)
            segment.add(ade7953.ADDRESS, chip)
            world.meters.append(chip)
        assert isinstance(chip, Ade7953)
        channel = chip.channels[meter.input]
        # The sensors deviate by exactly the amount that the configured calibration corrects.
        channel.gains.sensor_current = 1 / meter.current_gain
        channel.gains.sensor_power = 1 / meter.power_gain
        channel.scale_changed()
        return chip

    def _alert_lines(self, mux: int, channel: int) -> OnPin:
        world = self._world
        numbers = {
            ade7953.PIN_IRQ if place.meter.input == "A" else ade7953.PIN_ZX: place.number
            for place in self._config.outlet
            if (place.meter.mux, place.meter.channel) == (mux, channel)
        }

        def on_pin(pin: str, high: bool, at_ns: int) -> None:
            if not high:
                world.journal.add(at_ns, "alert", numbers.get(pin))
            end = self._pins.get((mux, channel, pin))
            if end is None:
                return
            if end.expander is None:
                world.lines.outside(end.pin, high, at_ns)
            else:
                world.expanders[end.expander].set_level(end.pin, high, at_ns)

        return on_pin

    def _add_thermometer(self, place: OutletConfig) -> None:
        world, thermometer = self._world, place.thermometer
        if thermometer is None:
            return
        segment = self._segments[thermometer.mux, thermometer.channel]
        chip = segment.chips.get(thermometer.address)
        if chip is None:
            beside = [world.outlets[o.number] for o in self._config.outlet if o.thermometer == thermometer]
            chip = Tmp102(
                lambda t: world.ambient_c + SHARED_HEAT * sum(o.warmth_k(t) for o in beside),
                self._on_ns,
                self._flicker(),
            )
            segment.add(thermometer.address, chip)
        assert isinstance(chip, Tmp102)
        world.thermometers[place.number] = chip

    def _flicker(self) -> random.Random | None:
        return random.Random(self._world.rng.getrandbits(32)) if self._noise else None

    def _wire_cabinet(self) -> None:
        world, hardware = self._world, self._config.hardware
        if hardware.inside_thermometer is not None:
            world.inside_thermometer = Tmp102(world.inside_c, self._on_ns, self._flicker())
            world.bus.upstream.add(hardware.inside_thermometer, world.inside_thermometer)
        if hardware.mux_reset_pin is not None:
            world.lines.wire(hardware.mux_reset_pin, True, self._mux_reset)
        if hardware.clock_out_pin is not None:
            world.lines.wire(hardware.clock_out_pin, True, lambda high, t: world.bus.clock_line(high))
        if hardware.contactor_pin is None:
            world.contactor.closed = True  # no contactor fitted: a wire in its place
            world.has_contactor = False
        else:
            world.lines.wire(hardware.contactor_pin, False, world.set_contactor)
        if hardware.heartbeat_pin is not None:
            world.lines.wire(hardware.heartbeat_pin, False, lambda high, t: world.coil_supply.edge(t))
            for outlet in world.outlets.values():
                outlet.relay.supplied = False
            world.contactor.supplied = False

    def _wire_contacts(self) -> None:
        world, hardware = self._world, self._config.hardware
        for name, pin in zip(INPUTS, (hardware.smoke_pin, hardware.water_pin, hardware.residual_pin), strict=True):
            if pin is not None:
                world.contacts[name] = Contact(name, pin, world.lines, world.journal)
        if "residual" in world.contacts:
            world.residual_monitor = ResidualMonitor(world.contacts["residual"], world.timeline, world.rng)
            if hardware.residual_test_pin is not None:
                world.lines.wire(hardware.residual_test_pin, False, world.residual_monitor.test)
        if hardware.siren_pin is not None:
            world.siren = Siren(hardware.siren_pin, world.lines, world.journal)

    def _mux_reset(self, high: bool, at_ns: int) -> None:
        if not high:
            self._world.journal.add(at_ns, "mux_reset")
        self._world.bus.reset_muxes(high)
