"""A cabinet wired up as its configuration says, and its meters against what is really so."""

import random

import pytest
from gpiozero import OutputDevice
from smbus2 import i2c_msg

from cabinet.clock import MS, ManualClock
from cabinet.config import parse
from cabinet.sim.build import build_world
from cabinet.sim.bus import SimBus
from cabinet.sim.catalogue import make_load
from cabinet.sim.gpio import SimPinFactory
from cabinet_testing.sim_hardware import DEMO, METER, SimHardware

DEMO_TEXT = DEMO.read_text(encoding="utf-8")


def test_relays_on_plain_lines_without_heartbeat_or_contactor() -> None:
    text = DEMO_TEXT.replace("expander:0x20/0", "gpio:14")
    for line in ("contactor_pin = 17\n", "heartbeat_pin = 27\n", "mux_reset_pin = 22\n", "inside_thermometer = 0x49\n"):
        text = text.replace(line, "")
    clock = ManualClock()
    world = build_world(parse(text), clock)
    pins = SimPinFactory(world)
    relay = OutputDevice(14, pin_factory=pins)
    world.plug(1, make_load("resistor:700"))
    assert world.truth(1).power_mw == 0
    relay.on()
    clock.advance_ns(8 * MS)
    assert world.truth(1).power_mw == pytest.approx(700_000)
    relay.off()
    clock.advance_ns(16 * MS)
    assert world.truth(1).power_mw == 0
    assert [record.kind for record in world.journal.after(0, 1)] == [
        "alert", "plugged", "coil_on", "contacts_closed", "coil_off", "contacts_opened", "current_zero"
    ]  # fmt: skip


def test_two_muxes_and_a_slow_bus() -> None:
    eleventh = """
[[outlet]]
number = 11
code = "L2Z9"
relay = "expander:0x20/10"
meter = { mux = 0x71, channel = 7, input = "B" }
thermometer = { mux = 0x71, channel = 7, address = 0x4A }
"""
    text = DEMO_TEXT.replace("muxes = [0x70]", "muxes = [0x70, 0x71]\nbus_speed_hz = 100_000") + eleventh
    clock = ManualClock()
    world = build_world(parse(text), clock, noise=False)
    bus = SimBus(world.bus, world.timeline, clock)
    before_ns = clock.monotonic_ns()
    bus.write_byte(0x71, 0x80)
    assert clock.monotonic_ns() - before_ns == 20 * 10_000
    assert bus.read_word_data(0x4A, 0) == 0x0019
    with pytest.raises(OSError, match="EREMOTEIO"):
        bus.read_word_data(0x48, 0)
    bus.write_byte(0x70, 0x01)
    assert bus.read_word_data(0x48, 0) == 0x0019


def test_sensors_are_off_by_what_the_calibration_puts_right() -> None:
    calibrated = 'channel = 0, input = "A", current_gain = 1.02, power_gain = 0.98 }'
    clock = ManualClock()
    world = build_world(parse(DEMO_TEXT.replace('channel = 0, input = "A" }', calibrated)), clock, noise=False)
    world.coil_supply.hold(world.sync())
    world.set_contactor(True, world.sync())
    world.outlets[1].command(True, world.sync())
    world.plug(1, make_load("resistor:1000"))
    clock.advance_ns(2000 * MS)
    at_ns = world.sync()
    channel = world.meters[0].channels["A"]
    assert channel.rms_code(at_ns, 0) / 9_032_007 * 200 / 2**0.5 * 1.02 == pytest.approx(1000 / 220, rel=1e-4)
    assert channel.watt_code(at_ns, 0) / 4_862_401 * 50_000 * 0.98 == pytest.approx(1000, rel=1e-4)


def test_the_same_seed_gives_the_same_cabinet_and_another_seed_another() -> None:
    def life(seed: int) -> list[tuple[int, str]]:
        cabinet = SimHardware(noise=True, seed=seed)
        cabinet.world.plug(1, make_load("lithium-48v"))
        for _ in range(5):
            cabinet.close(1)
            cabinet.coils()
            cabinet.live_ms(20)
        return [(record.at_ns, record.kind) for record in cabinet.world.journal.after(0)]

    assert life(5) == life(5) != life(6)


@pytest.mark.parametrize("outlet", [1, 2])
def test_what_the_meter_adds_up_is_what_was_delivered(outlet: int) -> None:
    """Switching, inrush, dips and a short included, with noise: within a tenth of a percent of the truth."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    cabinet = SimHardware(noise=True, seed=seed)
    cabinet.select(0)
    cabinet.bus.write_i2c_block_data(METER, 0x00, [0x01, 0x07])
    cabinet.world.plug(outlet, make_load("lead-acid-48v20ah"))
    counts = 0

    def take() -> int:
        answer = i2c_msg.read(METER, 3)
        cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x1E if outlet == 1 else 0x1F]), answer)
        value = int.from_bytes(bytes(answer), "big")
        return value - 0x1000000 if value & 0x800000 else value

    take()
    cabinet.close(outlet)
    for _ in range(60):
        cabinet.live_ms(rng.uniform(100, 2000))
        counts += take()
        match rng.randrange(6):
            case 0:
                cabinet.coils()
                cabinet.live_ms(rng.uniform(5, 500))
                cabinet.coils(outlet)
            case 1:
                cabinet.world.fault(None, "mains_cut", seconds=rng.uniform(0.01, 0.5))
            case 2:
                cabinet.world.fault(outlet, "short", amps=40, shape="half")
                cabinet.live_ms(rng.uniform(5, 30))
                cabinet.world.clear(outlet)
    cabinet.coils()
    cabinet.live_ms(50)
    counts += take()
    truth_j = cabinet.world.truth(outlet).energy_uj / 1e6
    assert truth_j > 2000
    assert counts / 206_900 * 50_000 == pytest.approx(truth_j, rel=1e-3)
