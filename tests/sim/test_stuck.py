"""Registers that stand still: what a read gives, what goes on behind it, and what a write does to it."""

import math

import pytest
from smbus2 import i2c_msg

from cabinet.errors import SimError
from cabinet.sim.catalogue import make_load
from cabinet.sim.chips.stuck import Stickable
from cabinet_testing.sim_hardware import EXPANDER, METER, THERMOMETER, SimHardware

RSTIAPEAK, RSTIBPEAK, IRMSA, AWATT, OILVL, IRQENA, RSTIRQSTATA = 0x229, 0x22B, 0x21A, 0x212, 0x225, 0x22C, 0x22E
CODE_PER_A = 6_500_000 / 200
SHUTDOWN = 0x61A0  # the thermometer's settings at power-on, and bit SD


def short_watched(cabinet: SimHardware) -> list[bool]:
    """Outlet 1 closed, its chip's over-current interrupt on for 30 A; returns the levels its alert line goes to."""
    cabinet.close(1)
    cabinet.select(0)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x25, *round(30 * CODE_PER_A).to_bytes(3, "big")]))
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x2C, *(1 << 13).to_bytes(3, "big")]))
    cabinet.read(RSTIRQSTATA, 0)
    levels: list[bool] = []
    cabinet.world.lines.watch(4, lambda high, at_ns: levels.append(high))
    return levels


def test_a_stuck_peak_shows_nothing_of_a_short_while_the_alert_line_and_the_rms_still_do(cabinet: SimHardware) -> None:
    alerts = short_watched(cabinet)
    cabinet.world.fault(1, "stuck", register="peak_a", value=8_000)
    cabinet.world.fault(1, "short", amps=60)
    cabinet.live_ms(200)
    assert [cabinet.read(RSTIAPEAK, 0) for _ in range(3)] == [8_000] * 3
    assert cabinet.read(IRMSA, 0) / 9_032_007 * 200 / math.sqrt(2) == pytest.approx(60, rel=0.02)
    assert alerts == [False], "the comparator sees the true current"
    cabinet.world.clear(1)
    cabinet.live_ms(1)
    cabinet.read(RSTIAPEAK, 0)
    cabinet.world.fault(1, "short", amps=60)
    cabinet.live_ms(20)
    assert cabinet.read(RSTIAPEAK, 0) / CODE_PER_A == pytest.approx(60 * math.sqrt(2), rel=0.01), "works again"


def test_without_a_value_a_register_keeps_what_it_showed_and_its_neighbours_follow(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("resistor:220"))
    cabinet.world.plug(2, make_load("resistor:220"))
    cabinet.close(1, 2)
    cabinet.live_ms(300)
    cabinet.select(0)
    cabinet.world.fault(1, "stuck", register="power_a")
    before = cabinet.read(AWATT, 0)
    cabinet.world.unplug(1)
    cabinet.world.unplug(2)
    cabinet.live_ms(500)
    assert cabinet.read(AWATT, 0) == before > 0
    assert cabinet.read(AWATT + 1, 0) < before // 100


def test_a_register_sticks_from_the_moment_asked_for(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "stuck", register="peak_b", value=77, after_s=0.5)
    cabinet.live_ms(400)
    assert cabinet.read(RSTIBPEAK, 0) == 0
    cabinet.live_ms(200)
    assert cabinet.read(RSTIBPEAK, 0) == 77


def test_clearing_takes_back_what_has_not_begun(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "stuck", register="peak_a", value=77, after_s=0.5)
    cabinet.world.clear(1)
    cabinet.live_ms(600)
    assert cabinet.read(RSTIAPEAK, 0) == 0


def test_a_stuck_setting_is_what_the_chip_acts_on_and_a_write_is_lost(cabinet: SimHardware) -> None:
    alerts = short_watched(cabinet)
    cabinet.world.fault(1, "stuck", register="oilvl", value=0xFFFFFF)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x25, 0, 0, 1]))
    assert cabinet.read(OILVL, 0) == 0xFFFFFF
    cabinet.world.fault(1, "short", amps=60)
    cabinet.live_ms(50)
    assert alerts == [], "no current reaches such a level"
    cabinet.world.fault(1, "chip_reset")
    cabinet.world.fault(1, "stuck", register="irqena", value=0)
    cabinet.world.fault(1, "chip_reset")
    assert cabinet.read(IRQENA, 0) == 0, "a reset does not mend it"


def test_an_upset_setting_can_be_written_again(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "upset", register="irqena", value=0)
    assert cabinet.read(IRQENA, 0) == 0
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x2C, *(1 << 13).to_bytes(3, "big")]))
    assert cabinet.read(IRQENA, 0) == 1 << 13
    assert cabinet.world.truth(1).faults == {}, "it has happened; nothing lasts"
    with pytest.raises(SimError, match="rms_a is measured"):
        cabinet.world.fault(1, "upset", register="rms_a", value=1)
    assert cabinet.world.truth(1).faults == {}, "nor by halves"


def test_a_thermometer_that_falls_asleep_shows_the_last_temperature_until_it_is_woken(cabinet: SimHardware) -> None:
    cabinet.select(0)
    cabinet.world.fault(1, "upset", chip="thermometer", register="config", value=SHUTDOWN)
    cabinet.world.fault(1, "warmed", kelvin=40)
    cabinet.live_ms(30_000)
    assert cabinet.celsius() == pytest.approx(25.0, abs=0.1)
    cabinet.bus.write_i2c_block_data(THERMOMETER, 1, [0x60, 0xA0])
    cabinet.live_ms(100)
    assert cabinet.celsius() > 45


def test_a_stuck_thermometer_converts_on_behind_its_register(cabinet: SimHardware) -> None:
    cabinet.select(0)
    cabinet.world.fault(1, "stuck", chip="thermometer", register="temperature", value=0x1900)
    cabinet.world.fault(1, "warmed", kelvin=60)
    cabinet.live_ms(120_000)
    assert cabinet.celsius() == 25.0
    cabinet.world.clear(1)
    cabinet.world.fault(1, "warmed", kelvin=60)
    cabinet.live_ms(1000)
    assert cabinet.celsius() > 60


def test_a_stuck_output_latch_holds_its_relays_whatever_is_written(cabinet: SimHardware) -> None:
    cabinet.close(1, 2)
    cabinet.world.fault(1, "stuck", chip="expander", register="olat")
    cabinet.bus.write_word_data(EXPANDER, 0x14, 0)
    cabinet.live_ms(50)
    assert [cabinet.world.truth(outlet).contacts_closed for outlet in (1, 2, 3)] == [True, True, False]
    assert cabinet.bus.read_word_data(EXPANDER, 0x14) == 0b11
    cabinet.world.clear(1)
    cabinet.bus.write_word_data(EXPANDER, 0x14, 0)
    cabinet.live_ms(50)
    assert not cabinet.world.truth(1).contacts_closed


def test_a_stuck_read_of_the_pins_leaves_the_outputs_alone(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "stuck", chip="expander", register="gpio", value=0xFFFF)
    cabinet.close(1)
    assert cabinet.bus.read_word_data(EXPANDER, 0x12) == 0xFFFF
    assert [cabinet.world.truth(outlet).contacts_closed for outlet in (1, 2)] == [True, False]


def test_a_stuck_mux_answers_with_the_chip_of_another_channel(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("resistor:220"))
    cabinet.close(1)
    cabinet.live_ms(300)
    cabinet.world.fault(1, "stuck", chip="mux", register="channels", value=1)
    cabinet.select(1)
    assert cabinet.read(IRMSA, 1) > 10_000, "the current of outlet 1, not of outlet 3"
    cabinet.world.clear(1)
    assert cabinet.read(IRMSA, 1) < 10_000


@pytest.mark.parametrize(("level", "shown"), [("low", [False]), ("high", [])])
def test_a_stuck_alert_line_says_nothing_of_the_meter(cabinet: SimHardware, level: str, shown: list[bool]) -> None:
    alerts = short_watched(cabinet)
    cabinet.world.fault(1, "alert_stuck", level=level)
    cabinet.world.fault(1, "short", amps=60)
    cabinet.live_ms(50)
    cabinet.read(RSTIRQSTATA, 0)
    assert alerts == shown
    assert cabinet.world.lines.level(4) is (level == "high")


def every_register() -> list[tuple[str, str]]:
    world = SimHardware().world
    chips: dict[str, Stickable] = {
        "meter": world.meters[0],
        "thermometer": world.thermometers[1],
        "expander": world.expanders[EXPANDER],
        "mux": world.mux_of[1],
    }
    return [(name, register) for name, chip in chips.items() for register in chip.register_names]


@pytest.mark.parametrize(("chip", "register"), every_register())
def test_every_register_of_every_chip_can_be_stuck_and_freed(chip: str, register: str) -> None:
    cabinet = SimHardware()
    cabinet.world.plug(1, make_load("lithium-48v"))
    cabinet.close(1)
    for value in ({}, {"value": 0}, {"value": 3}, {"value": 0x55}):
        if register == "iocon" and value.get("value", 0) & 0x9F:
            continue  # modes that this model does not have are refused
        cabinet.world.fault(1, "stuck", chip=chip, register=register, **value)
        cabinet.world.fault(1, "short", amps=60)
        cabinet.live_ms(60)
        cabinet.world.state()
        cabinet.world.clear(1)
    cabinet.world.fault(1, "chip_reset", chip="meter", down=1)
    cabinet.live_ms(100)


def test_a_register_or_value_that_is_not_there_is_refused_in_words(cabinet: SimHardware) -> None:
    with pytest.raises(SimError, match=r"ADE7953 has no register 'peak_c'; did you mean peak_\w\?"):
        cabinet.world.fault(1, "stuck", register="peak_c")
    with pytest.raises(SimError, match="TMP102 has no register 'x'; it has temperature, config, t_low, t_high"):
        cabinet.world.fault(1, "stuck", chip="thermometer", register="x")
    with pytest.raises(SimError, match="channels has 8 bits, 256 does not fit"):
        cabinet.world.fault(1, "stuck", chip="mux", register="channels", value=256)
    assert cabinet.world.truth(1).faults == {}


def test_a_stuck_register_is_gone_when_both_outlets_of_the_chip_are_cleared(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "stuck", register="peak_a", value=5)
    cabinet.world.fault(2, "stuck", register="peak_b", value=6)
    cabinet.world.clear(1)
    assert (cabinet.read(RSTIAPEAK, 0), cabinet.read(RSTIBPEAK, 0)) == (0, 6)
    cabinet.world.clear(2)
    assert cabinet.read(RSTIBPEAK, 0) == 0
