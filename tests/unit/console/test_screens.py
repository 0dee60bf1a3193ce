"""Whole screens of the console, in both languages, on 80 columns."""

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.commands.margins import nearness
from cabinet.console.registry import COMMANDS
from cabinet.console.terminal.columns import fold, width
from cabinet.console.terminal.session import BITS_A_BYTE, encoded
from cabinet.console.wording import wording
from cabinet.model import REFUSALS, Fault, Phase, Quality, Reading
from cabinet.texts import LANGUAGES
from cabinet_testing.console_snapshots import BLIND, CHARGING, CONFIG, SHORTED, outlet, snapshot

EN, ZH = wording("en"), wording("zh")

MACHINE = status_text.ComputerStatus(
    "2026-11-25 03:14:15", True, 12_345_000_000, 172_800, "0.1.0", "Linux 6.12.47", None, 0
)
PROBLEMS = ["undervoltage", "hot", "governor", "bus_slow", "turn_long"]
WORST_MACHINE = msgspec.structs.replace(
    MACHINE, trusted=False, service="storage_damaged", unkept=1234, problems=PROBLEMS
)


def test_status_screen():
    shown = status_text.status(snapshot(CHARGING, SHORTED, BLIND), EN, NS, MACHINE)
    assert shown.splitlines() == [
        "mains 220.1 V 50.01 Hz  feed 142/7000 W  air 31 °C  contactor closed",
        " No  relay         W        A     °C    min      kWh  state",
        "  1  open          0     0.00     25      -        -  Idle",
        "  2  open          0     0.00     25      -        -  Idle",
        "  3  closed      142     0.71     31     12    0.123  Charging",
        "  4  open          0     0.00     25      -        -  Idle",
        "  5  open          0     0.00     25      1    0.020  Short circuit, latched",
        "  6  open          0     0.00     25      -        -  Idle",
        "  7  open          0     0.00     25      -        -  Idle",
        "  8  open       (12)    fault      -      -        -  Sensor lost",
        "  9  open          0     0.00     25      -        -  Idle",
        " 10  open          0     0.00     25      -        -  Idle",
        "guard real-time, late 0.1 ms (worst 0.4), scan 2.6 ms",
        "sensors 9 of 10 outlets read, failed bus transfers 2",
        "clock 2026-11-25 03:14:15 synchronised  disk 12.3 GB free",
        "version 0.1.0  Linux 6.12.47  up 2.0 days",
    ]


def test_status_shows_the_rest_of_a_turn_the_bus_and_what_makes_the_computer_slow():
    of = snapshot()
    fast = msgspec.structs.replace(of.health, period_us=4000, turn_p99_us=3100, bus_hz=398_000, transfer_us=270)
    slow = msgspec.structs.replace(fast, turn_p99_us=5400, bus_hz=160_000)
    machine = msgspec.structs.replace(MACHINE, problems=["hot", "bus_slow"])
    shown = status_text.status(msgspec.structs.replace(of, health=fast), EN, NS, MACHINE).splitlines()
    assert "guard real-time, late 0.1 ms (worst 0.4), 23 % of a turn left" in shown
    assert "sensors 10 of 10 outlets read, failed bus transfers 2, bus 398 kHz" in shown
    shown = status_text.status(msgspec.structs.replace(of, health=slow), EN, NS, machine).splitlines()
    assert "guard real-time, late 0.1 ms (worst 0.4), a turn takes 5.4 of 4.0 ms" in shown
    assert shown[-1] == "computer slow: too hot, slow bus"


def test_outlet_screen_shows_limits_and_fault():
    assert status_text.outlet(SHORTED, CONFIG, EN, nearness(SHORTED, CONFIG)).splitlines() == [
        "Outlet 5",
        "  relay          open",
        "  charge         Idle",
        "  session        -",
        "  power          0.0 W  of at most 1000 W",
        "  current        0.000 A  of at most 8 A",
        "  peak           0.00 A  of at most 30 A",
        "  voltage        220.1 V",
        "  contacts       25.4 °C  of at most 75 °C",
        "  this charge    1.0 min, 0.020 kWh",
        "  counters       0.0 h, 0.000 kWh",
        "  wiring         E2W7  expander:0x20/4  gpio:13",
        "  sensors        ADE7953 0x70/2A  TMP102 0x70/2@0x48",
        "  a start now    no: a fault has latched it",
        "  nearest to a limit: contacts 33%, peak 0%, current 0%, voltage 0%, power 0%",
        "Outlet 5: Short circuit, latched",
        "  peak 61.2 A, limit 30 A",
        *fold(EN("fault.short_circuit.staff"), "  "),
    ]


def test_unknown_is_never_a_number():
    """No reading, a failed one and an old one are told apart from 0."""
    readings = {
        Reading(0, NS, Quality.OK): "0",
        Reading(7_000, NS, Quality.STALE): "(7)",
        Reading(None, NS, Quality.STALE): "-",
        Reading(None, NS, Quality.FAULT, "frozen"): "fault",
        Reading(None, NS, Quality.ABSENT): "-",
    }
    assert {reading: status_text.reading(reading, 1000, 0, EN) for reading in readings} == readings
    whole = status_text.outlet(BLIND, CONFIG, EN, nearness(BLIND, CONFIG))
    assert "  current        fault (EREMOTEIO)  of at most 8 A" in whole
    assert "  contacts       -  of at most 75 °C" in whole


def test_old_snapshot_is_said_first():
    late = status_text.status(snapshot(), EN, NS + 5 * NS, MACHINE)
    assert late.splitlines()[0] == "This is 5 s old: the guard's loop is not keeping up."


def test_faults_screen():
    assert status_text.faults(snapshot(), EN) == "No faults."
    lines = status_text.faults(snapshot(SHORTED, BLIND, contactor_closed=False), EN).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "The contactor is open: no outlet has power.",
        "Outlet 5: Short circuit, latched",
        "Outlet 8: Sensor lost, clears by itself once the cause is gone",
    ]


def test_a_fault_of_the_whole_cabinet_is_on_both_screens():
    smoke = snapshot(fault=Fault.SMOKE, latched=True, siren=True, why={"temperature_mc": 66_000})
    assert status_text.status(smoke, EN, NS, MACHINE).splitlines()[1] == "THE CABINET: Smoke, latched, siren on"
    assert status_text.faults(smoke, EN).splitlines() == [
        "The cabinet: Smoke, latched, siren on",
        "  temperature 66 °C",
        *fold(EN("fault.smoke.staff"), "  "),
    ]


@pytest.mark.parametrize("words", [EN, ZH], ids=LANGUAGES[::-1])
@pytest.mark.parametrize("fault", Fault)
def test_worst_status_screen_fits_the_terminal(words, fault):
    """24 lines of 80 columns, with the prompt: at ten outlets with everything wrong."""
    worst = [
        outlet(
            n,
            phase=Phase.WAITING_FOR_LOAD,
            fault=fault,
            latched=True,
            power_mw=Reading(3_500_000, NS, Quality.STALE),
            current_ma=Reading(16_000, NS, Quality.STALE),
            temperature_mc=Reading(-30_000, NS, Quality.STALE),
            charge_count=msgspec.structs.replace(CHARGING.charge_count, charging_ms=36_000_000, energy_mwh=35_000_000),
        )
        for n in range(1, 11)
    ]
    cabinet = snapshot(
        *worst,
        fault=fault,
        latched=True,
        siren=True,
        feed_mw=35_000_000,
        feed_limit_mw=35_000_000,
        inside_mc=Reading(-30_000, NS, Quality.STALE),
        mains_mv=Reading(220_100, NS, Quality.STALE),
        frequency_mhz=Reading(50_010, NS, Quality.STALE),
    )
    text = status_text.status(cabinet, words, NS + 9 * NS, WORST_MACHINE)
    assert len(text.splitlines()) < 24
    assert [line for line in text.splitlines() if width(line) > 80] == []
    assert len(encoded(text)) * BITS_A_BYTE / 9600 < 3, "seconds at 9600 baud"


@pytest.mark.parametrize("language", LANGUAGES)
def test_console_has_words_for_everything_it_may_have_to_say(language):
    words = wording(language)
    keys = {f"help.{plan.key}" for plan in COMMANDS.values()}
    keys |= {f"argument.{taken.key}" for plan in COMMANDS.values() for taken in plan.takes if not taken.literal}
    keys |= {f"level.{level.name.lower()}" for level in Level}
    keys |= {f"phase.{phase.value}" for phase in Phase}
    keys |= {f"fault.{fault.value}.{part}" for fault in Fault for part in ("name", "staff")}
    keys |= {f"refusal.{code}" for code in REFUSALS}
    assert sorted(key for key in keys if key not in words) == []


@pytest.mark.parametrize("indent", ["", "    "])
def test_word_wider_than_the_screen_goes_on_in_the_next_line(indent):
    path = "/" + "a-long-folder/" * 12
    lines = fold(f"Lines of {path}", indent)
    assert all(width(line) <= 80 for line in lines)
    assert "".join(line.removeprefix(indent) for line in lines).replace(" ", "") == f"Lines of {path}".replace(" ", "")
