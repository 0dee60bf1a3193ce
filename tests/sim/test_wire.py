"""The simulator as another process sees it: bus and pins over the real socket, served by a real loop in a thread."""

import errno
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpiozero import DigitalInputDevice, OutputDevice
from smbus2 import i2c_msg

from cabinet.errors import HardwareError, SimError
from cabinet.sim import frames
from cabinet.sim.control import SimControl
from cabinet.sim.server import SimServer
from cabinet.sim.wire import WireBus, WirePinFactory, _connect
from cabinet_testing.sim_hardware import EXPANDER, METER, MUX, THERMOMETER
from cabinet_testing.sim_server import RunningSimServer

WITHIN_S = 10.0  # only so that a broken build does not hang


@pytest.fixture
def bus(running: RunningSimServer) -> Iterator[WireBus]:
    bus = WireBus(running.bus_path)
    yield bus
    bus.close()


@pytest.fixture
def pins(running: RunningSimServer) -> Iterator[WirePinFactory]:
    pins = WirePinFactory(running.bus_path)
    yield pins
    pins.close()


@pytest.fixture
def control(running: RunningSimServer) -> Iterator[SimControl]:
    with SimControl(running.control_path) as control:
        yield control


def eventually(what: Callable[[], object]) -> None:
    """Ask until it is so; the simulator answers each time, so this never spins idly."""
    deadline_s = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < deadline_s, "it never came to that"


class Heart:
    """Keeps the coil supply up from a thread, as a guard would."""

    def __init__(self, pins: WirePinFactory) -> None:
        self._line = OutputDevice(27, pin_factory=pins)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(0.02):
            self._line.toggle()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_the_bus_answers_as_in_process_and_takes_its_time(bus: WireBus) -> None:
    begun_ns = time.monotonic_ns()
    bus.write_byte(MUX, 1)
    assert bus.read_word_data(THERMOMETER, 0) == 0x0019
    answer = i2c_msg.read(METER, 2)
    bus.i2c_rdwr(i2c_msg.write(METER, [0x01, 0x02]), answer)
    assert bytes(answer) == b"\x80\x04"
    assert time.monotonic_ns() - begun_ns >= (20 + 48 + 57) * 2500, "never faster than the wire"
    bus.write_i2c_block_data(EXPANDER, 0x14, [0x01, 0x02])
    assert bus.read_i2c_block_data(EXPANDER, 0x14, 2) == [0x01, 0x02]


def test_errors_have_the_errno_of_a_real_adapter(bus: WireBus, control: SimControl) -> None:
    with pytest.raises(OSError, match="EREMOTEIO") as absent:
        bus.read_byte(0x55)
    assert absent.value.errno == errno.EREMOTEIO
    control.fault(1, "stuck_bus")
    bus.write_byte(MUX, 1)
    begun_ns = time.monotonic_ns()
    with pytest.raises(OSError, match="ETIMEDOUT") as stuck:
        bus.read_byte(EXPANDER)
    assert stuck.value.errno == errno.ETIMEDOUT
    assert time.monotonic_ns() - begun_ns >= 10_000_000


def test_what_no_chip_has_is_loud_at_both_ends(
    bus: WireBus, control: SimControl, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with pytest.raises(SimError, match="MCP23017: bits 0x80 of IOCON is not modelled"):
            bus.write_byte_data(EXPANDER, 0x0A, 0x80)
    assert capfd.readouterr().err == "cabinet sim: MCP23017: bits 0x80 of IOCON is not modelled\n"
    assert [record["kind"] for record in control.journal()].count("unmodelled") == 2


def test_two_clients_share_one_bus(running: RunningSimServer, bus: WireBus) -> None:
    other = WireBus(running.bus_path)
    bus.write_byte(MUX, 1)
    assert other.read_byte(MUX) == 1
    other.write_byte(MUX, 4)
    assert bus.read_byte(MUX) == 4
    other.close()
    assert bus.read_byte(MUX) == 4, "one going leaves the other alone"


def test_a_charge_from_the_first_edge_to_the_meter(bus: WireBus, pins: WirePinFactory, control: SimControl) -> None:
    heart = Heart(pins)
    contactor = OutputDevice(17, pin_factory=pins)
    contactor.on()
    control.plug(1, "resistor:1000")
    bus.write_word_data(EXPANDER, 0x00, 0xFC00)
    bus.write_word_data(EXPANDER, 0x14, 0x0001)
    eventually(lambda: control.truth(1)["power_mw"] == 1_000_000)
    assert control.state()["contactor_closed"] is True
    kinds = [record["kind"] for record in control.journal(outlet=1)]
    assert kinds[-3:] == ["plugged", "coil_on", "contacts_closed"]
    heart.stop()
    eventually(lambda: not control.truth(1)["conducting"])
    lost = next(record["at_ns"] for record in control.journal() if record["kind"] == "heartbeat_lost")
    zero = next(record["at_ns"] for record in control.journal(outlet=1) if record["kind"] == "current_zero")
    assert zero - lost <= 15_000_000


def test_an_alert_edge_reaches_a_callback_with_the_moment_it_happened(
    bus: WireBus, pins: WirePinFactory, control: SimControl
) -> None:
    edges: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    line = DigitalInputDevice(4, pull_up=True, pin_factory=pins)
    assert line.value == 1, "the RESET interrupt after power-up"
    line.when_deactivated = lambda: edges.put((0, time.monotonic_ns()))
    line.when_activated = lambda: edges.put((1, time.monotonic_ns()))
    bus.write_byte(MUX, 1)
    answer = i2c_msg.read(METER, 3)
    bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x2E]), answer)
    assert edges.get(timeout=WITHIN_S)[0] == 0
    assert line.value == 0
    control.fault(1, "chip_reset")
    state, heard_ns = edges.get(timeout=WITHIN_S)
    fell_ns = [record["at_ns"] for record in control.journal(outlet=1) if record["kind"] == "alert"][-1]
    print(f"alert edge heard after {(heard_ns - fell_ns) / 1000:.0f} us")
    assert state == 1
    assert heard_ns > fell_ns
    line.close()


def test_outputs_keep_their_level_when_their_process_is_gone(running: RunningSimServer, control: SimControl) -> None:
    first = WirePinFactory(running.bus_path)
    contactor = OutputDevice(17, pin_factory=first)
    contactor.on()
    eventually(lambda: any(record["kind"] == "contactor_on" for record in control.journal()))
    first.door.close_door()  # as the kernel does for a process that is killed: nothing is released
    second = WirePinFactory(running.bus_path)
    assert second.pin(17).state == 1
    again = OutputDevice(17, pin_factory=second, initial_value=False)
    eventually(lambda: any(record["kind"] == "contactor_off" for record in control.journal()))
    again.close()
    second.close()


def test_strict_lines_let_go_when_their_process_is_gone(tmp_path: Path) -> None:
    running = RunningSimServer(tmp_path, strict_gpio=True)
    with SimControl(running.control_path) as control:
        pins = WirePinFactory(running.bus_path)
        contactor = OutputDevice(17, pin_factory=pins)
        contactor.on()
        eventually(lambda: any(record["kind"] == "contactor_on" for record in control.journal()))
        pins.door.close_door()
        eventually(lambda: any(record["kind"] == "contactor_off" for record in control.journal()))
    contactor.close()
    running.stop()


def test_closing_a_device_makes_its_line_an_input_again(pins: WirePinFactory, control: SimControl) -> None:
    contactor = OutputDevice(17, pin_factory=pins)
    contactor.on()
    contactor.close()
    eventually(lambda: any(record["kind"] == "contactor_off" for record in control.journal()))
    assert pins.pin(17).function == "input"


def test_no_simulator_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"no simulator at .*start it with: cabinet sim serve"):
        WireBus(tmp_path / "sim.sock")
    with pytest.raises(HardwareError, match="no simulator"):
        WirePinFactory(tmp_path / "sim.sock")
    with pytest.raises(SimError, match=r"no simulator at .*start it with: cabinet sim serve"):
        SimControl(tmp_path / "sim-control.sock")


def test_a_simulator_that_goes_away_is_an_input_output_error(tmp_path: Path) -> None:
    running = RunningSimServer(tmp_path)
    bus, pins = WireBus(running.bus_path), WirePinFactory(running.bus_path)
    contactor = OutputDevice(17, pin_factory=pins)
    assert bus.read_byte(MUX) == 0
    running.stop()
    with pytest.raises(OSError, match="the simulator is gone") as gone:
        bus.read_byte(MUX)
    assert gone.value.errno == errno.EIO
    with pytest.raises(OSError, match="the simulator is gone"):
        contactor.on()
    contactor.close()
    bus.close()


def test_a_second_simulator_in_one_folder_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    running = RunningSimServer(tmp_path)
    with pytest.raises(SimError, match="a simulator is running already at"):
        SimServer(running.world, tmp_path)
    with SimControl(running.control_path) as control:
        assert len(control.state()["outlets"]) == 10, "the first is not disturbed"
    running.stop()
    (tmp_path / "sim.sock").touch()
    RunningSimServer(tmp_path).stop()
    assert list(tmp_path.iterdir()) == [], "it cleans up behind itself"


@pytest.mark.parametrize(
    "frame", [b"T", b"T" + bytes(8) + b"\x05", b"T" + bytes(8) + b"\x01\x20\x00\xff\xff", b"D\x01"]
)
def test_a_frame_cut_short_is_refused_and_the_rest_goes_on(running: RunningSimServer, frame: bytes) -> None:
    connection = _connect(running.bus_path)
    connection.send(frame)
    assert connection.recv(1000).startswith(frames.REFUSED + b"bad frame")
    connection.send(frames.pack_line(frames.LEVEL, 17))
    assert frames.unpack_line(connection.recv(1000)) == (17, 0)
    connection.close()


def test_a_frame_of_another_protocol_ends_its_connection_only(running: RunningSimServer, bus: WireBus) -> None:
    connection = _connect(running.bus_path)
    connection.send(b"GET / HTTP/1.1")
    assert connection.recv(1000) == b""
    assert bus.read_byte(MUX) == 0
    connection.close()


@pytest.mark.parametrize(("request_text", "problem"), [
    (b"", None),
    (b"not json", "not a request"),
    (b"{}", "not a request"),
    (b'{"type":"explode"}', "not a request"),
    (b'{"type":"plug","outlet":"three","load":"demo"}', "not a request"),
    (b'{"type":"plug","outlet":3,"load":"demo","colour":"red"}', "not a request"),
    (b'{"type":"plug","outlet":33,"load":"demo"}', "no outlet 33"),
    (b'{"type":"mains","volts":5000}', "mains: 0 to 400 volts"),
])  # fmt: skip
def test_a_bad_request_gets_a_line_and_does_nothing(
    running: RunningSimServer, request_text: bytes, problem: str | None
) -> None:
    with SimControl(running.control_path) as control, SimControl(running.control_path) as other:
        before = control.state()["journal_seq"]
        other._connection.send(request_text)
        if problem is not None:
            assert problem in other._connection.recv(10_000).decode()
        assert control.state()["journal_seq"] == before


def test_a_long_journal_comes_whole_in_pages(running: RunningSimServer, control: SimControl) -> None:
    for _ in range(700):
        control.clear(3)
    records = control.journal()
    assert [record["seq"] for record in records] == list(range(1, records[-1]["seq"] + 1))
    assert len(records) > 700
    assert control.journal(after=records[-3]["seq"]) == records[-2:]


def test_a_refused_request_says_why(control: SimControl) -> None:
    with pytest.raises(SimError, match=r"no load named .dmo.; did you mean demo\?"):
        control.plug(3, "dmo")
    with pytest.raises(SimError, match="short: amps is 1 to 2000"):
        control.fault(3, "short", amps=1e9)


def test_the_process_says_when_it_is_ready_outlives_its_clients_and_stops_on_sigterm(
    tmp_path: Path, config_file: Path
) -> None:
    import socket

    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.settimeout(60)
    notices.bind(str(tmp_path / "notify"))
    process = subprocess.Popen(
        [sys.executable, "-m", "cabinet.main", "sim", "serve", "--config", str(config_file)],
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert notices.recv(1000) == b"READY=1\nSTATUS=simulating 10 outlets"
        bus = WireBus(tmp_path / "sim.sock")
        assert bus.read_byte(MUX) == 0
        bus.close()
        assert WireBus(tmp_path / "sim.sock").read_byte(MUX) == 0
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        notices.close()
    assert process.returncode == 0
    assert said == f"simulating 10 outlets, sockets in {tmp_path}; Ctrl-C ends it\n"
    assert errors in ("", "cabinet sim: no real-time scheduling here; times will be less exact\n")
    assert not (tmp_path / "sim.sock").exists()


def test_the_guard_s_side_loads_nothing_of_the_world() -> None:
    code = "import sys, cabinet.sim.wire; print(sorted(m for m in sys.modules if m.startswith('cabinet')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {"cabinet", "cabinet.errors", "cabinet.sim", "cabinet.sim.frames", "cabinet.sim.pins", "cabinet.sim.smbus"}
    assert out.strip() == str(sorted(loaded | {"cabinet.sim.wire"}))
