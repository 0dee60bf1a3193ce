"""`cabinet sim` as a person types it: what it prints, what it refuses, and with which exit status."""

import json
from pathlib import Path

import pytest

from cabinet.main import main
from cabinet.sim.batteries import KINDS
from cabinet.sim.faults import FAULTS


class Typed:
    """Types commands and gives back exit status and lines."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    def __call__(self, line: str) -> tuple[int, str, str]:
        status = main(["sim", *line.split(), "--config", str(self._config)])
        out, err = self._capsys.readouterr()
        return status, out, err


@pytest.fixture
def typed(config_file: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(config_file, capsys)


@pytest.mark.usefixtures("running")
def test_a_session_of_commands(typed: Typed) -> None:
    assert typed("plug 3 lead-acid-48v20ah --charge 40") == (0, "outlet 3: lead-acid-48v20ah plugged in\n", "")
    assert typed("plug 4 resistor:500") == (0, "outlet 4: resistor:500 plugged in\n", "")
    assert typed("fault 5 short --amps 60 --shape half --at-phase 90") == (0, "outlet 5: short\n", "")
    assert typed("fault all mains_cut") == (0, "cabinet: mains_cut\n", "")
    status, out, _ = typed("state")
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == ("mains 0 V 0 Hz, contactor open, coil supply off (no heartbeat), inside 25.0 °C, mains_cut")
    assert lines[1].split() == [
        "outlet", "load", "charge", "stage", "relay", "current", "power", "energy", "contacts", "faults"
    ]  # fmt: skip
    third, fifth = lines[4], lines[6]
    assert third.split()[:5] == ["3", "lead-acid-48v20ah", "40.0", "%", "off"]
    assert fifth.endswith("short (amps 60.0, shape half, at_phase 90.0)")
    assert typed("fault 6 stuck --register peak_b --value 0xC350") == (0, "outlet 6: stuck\n", "")
    assert "stuck (chip meter, register peak_b, value 50000.0, after_s 0.0)" in typed("state")[1]
    assert typed("clear") == (0, "no faults\n", "")
    assert typed("unplug 3") == (0, "outlet 3: lead-acid-48v20ah unplugged\n", "")
    state = json.loads(typed("state --json")[1])
    assert [record["kind"] for record in state["journal"] if record.get("outlet") == 3] == [
        "alert",
        "plugged",
        "unplugged",
    ]
    assert state["outlets"][3]["load"] == "resistor:500"


@pytest.mark.usefixtures("running")
def test_a_recording_is_found_from_where_the_person_is(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "charge.csv").write_text("timestamp,value\n0,10\n1000,20\n")
    monkeypatch.chdir(tmp_path / "here")
    assert typed("plug 2 replay:charge.csv --speed 10") == (0, "outlet 2: replay:charge.csv plugged in\n", "")
    assert "charge.csv" in typed("state")[1]


@pytest.mark.parametrize(("line", "problem"), [
    ("plug 11 demo", "no outlet 11; this cabinet has 1 to 10"),
    ("plug 1 dmo", "no load named 'dmo'; did you mean demo?"),
    ("plug 1 demo --charge 150", "a state of charge is 0 to 100 percent, not 150"),
    ("plug 1 demo --speed -1", "--speed is more than 0 and at most 10000, not -1"),
    ("plug 1 replay:/no/such.csv", "/no/such.csv: cannot be read: No such file or directory"),
    ("unplug 1", "nothing is plugged into outlet 1"),
    ("fault 1 shrt", "no fault 'shrt'; did you mean short?"),
    ("fault 1 short --amps lots", "--amps is a number, not 'lots'"),
    ("fault 1 short --amps -3", "short: amps is 1 to 2000, not -3.0"),
    ("fault 1 short --chip meter", "short does not take chip; it takes amps, shape, at_phase"),
    ("fault 1 implausible --chip toaster", "implausible: chip is one of meter, feed_meter, not 'toaster'"),
    ("fault 1 stuck --register peak_c --value 1", "ADE7953 has no register 'peak_c'; did you mean peak_b?"),
    ("fault 1 stuck --chip mux --register channels --value 0x100", "TCA9548A: channels has 8 bits, 256 does not fit"),
    ("fault 1 stuck --register rms_a --value 0xyz", "--value is a number, not '0xyz'"),
    ("fault 1 upset --register rms_a --value 1",
     "ADE7953: rms_a is measured, a single disturbance is gone at once; use stuck"),
    ("fault all short", "short needs an outlet"),
    ("fault 1 hot_plug", "nothing is plugged into outlet 1"),
    ("clear 12", "no outlet 12; this cabinet has 1 to 10"),
])  # fmt: skip
@pytest.mark.usefixtures("running")
def test_a_mistake_is_one_line_and_status_1(typed: Typed, line: str, problem: str) -> None:
    assert typed(line) == (1, "", problem + "\n")


@pytest.mark.parametrize(
    "line", ["plug three demo", "plug 1", "fault x short", "fault 1", "explode", "", "state --xml"]
)
def test_what_is_no_command_shows_the_usage_and_status_2(typed: Typed, line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(line)
    assert caught.value.code == 2


def test_without_a_running_simulator_every_command_says_how_to_start_one(typed: Typed, tmp_path: Path) -> None:
    for line in ("plug 1 demo", "unplug 1", "fault 1 short", "clear", "state", "state --json"):
        status, out, err = typed(line)
        assert (status, out) == (1, "")
        assert err == (
            f"no simulator at {tmp_path / 'sim-control.sock'} (No such file or directory); "
            "start it with: cabinet sim serve\n"
        )


def test_a_cabinet_with_real_hardware_has_nothing_to_simulate(
    config_file: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config_file.read_text()
    config_file.write_text(
        text.replace('bus = "sim"', 'bus = "/dev/i2c-1"').replace('pin_factory = "sim"', 'pin_factory = "lgpio"')
    )
    for line in ("serve", "state"):
        status, _, err = typed(line)
        assert status == 1
        assert err.endswith("hardware.bus is /dev/i2c-1, not sim: there is nothing to simulate\n")


def test_help_lists_every_load_and_every_fault_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    def help_of(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["sim", *words, "--help"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    assert all(name in help_of("plug") for name in KINDS)
    faults = help_of("fault")
    for name, kind in FAULTS.items():
        assert f"  {name} " in faults
        assert all(f"--{parameter.replace('_', '-')}" in faults for parameter in kind.params)
    assert "cabinet sim plug 3 lead-acid-48v20ah --charge 40" in help_of()


@pytest.mark.parametrize("name", FAULTS)
def test_the_example_of_every_fault_is_a_command_that_can_be_typed(name: str) -> None:
    place, kind, *rest = FAULTS[name].example.split()
    assert kind == name
    assert (place == "all") == FAULTS[name].cabinet
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert {option.removeprefix("--").replace("-", "_") for option in options} <= set(FAULTS[name].params)


def test_faults_are_listed_with_their_examples_without_a_simulator(typed: Typed) -> None:
    status, out, _ = typed("faults")
    assert status == 0
    assert all(f"cabinet sim fault {kind.example}" in out for kind in FAULTS.values())


def test_loads_need_no_simulator(typed: Typed) -> None:
    status, out, _ = typed("loads")
    assert status == 0
    assert all(name in out for name in [*KINDS, "random:SEED", "resistor:WATTS", "replay:FILE.csv"])
