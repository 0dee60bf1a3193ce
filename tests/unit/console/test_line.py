"""The console's edge: bytes on a line, a cable that is pulled, a guard that comes back."""

import os
import select
import threading

import pytest

from cabinet.clock import NS
from cabinet.console.guard_client import ReconnectingGuardClient
from cabinet.console.terminal.pty_pair import PtyPair
from cabinet.console.terminal.serial_port import CarrierDetectPort, SerialServer, UnpluggedError, open_port
from cabinet.console.terminal.session import TerminalSession
from cabinet.errors import LinkError
from cabinet_testing.console_harness import DirectGuardClient
from cabinet_testing.console_line import LOGIN
from cabinet_testing.console_snapshots import CONFIG, SHORTED, snapshot
from cabinet_testing.fake_guard import FakeGuard

WITHIN_S = 20  # only keeps a broken build from hanging


@pytest.fixture
def clock(terminal):
    return terminal.clock


@pytest.fixture
def conversation(terminal):
    terminal.staff.remember("tech", terminal="plain")
    return TerminalSession(terminal.shell, terminal.clock)


# --- bytes to bytes --------------------------------------------------------------------------------------------------


def test_login_echoes_the_name_and_not_the_pin(conversation):
    conversation.greet()
    shown = conversation.take(LOGIN).decode()
    assert shown.startswith("tech\r\n密码 PIN: \r\nLogged in as tech")
    assert "pin-tech" not in shown
    assert shown.endswith("SG-1> ")


def test_pin_is_hidden_also_when_it_comes_byte_by_byte(conversation):
    shown = b"".join(conversation.take(bytes([byte])) for byte in LOGIN)
    assert b"pin-tech" not in shown
    assert shown == b"tech\r\n\xe5\xaf\x86\xe7\xa0\x81 PIN: \r\n" + shown[shown.index(b"Logged") :]


def test_every_line_ends_as_a_terminal_needs_it(conversation):
    shown = conversation.take(LOGIN + b"status\rhelp\rfaults\rxyzzy\r")
    assert shown.count(b"\n") == shown.count(b"\r\n") > 20


def test_control_c_at_a_question_does_nothing(conversation, guard):
    conversation.take(LOGIN)
    shown = conversation.take(b"clear 5\r\x03yes\r").decode()
    assert "Type yes to go on: ^C\r\nSG-1> yes\r\n" in shown
    assert guard.asked == []


def test_too_long_line_says_so_and_runs_nothing(conversation, guard):
    conversation.take(LOGIN)
    assert b"too long" in conversation.take(b"off 5" + b" " * 300 + b"\r")
    assert guard.asked == []


def test_idle_logout_shows_on_the_terminal_and_drops_the_half_typed_line(conversation, clock, guard):
    conversation.take(LOGIN + b"off ")
    assert conversation.tick() == b""
    clock.advance_ns(int(CONFIG.console.idle_logout_s * NS))
    assert conversation.tick().decode().startswith("\r\nLogged out: no input for too long.\r\n")
    conversation.take(b"5\r")
    assert guard.asked == []


def test_hang_up_in_the_middle_of_a_command_leaves_nothing_behind(conversation, guard):
    conversation.take(LOGIN + b"off 5")
    conversation.hang_up()
    assert "账号 login: ".encode() in conversation.greet()
    conversation.take(b"\r")
    assert guard.asked == []


# --- a line that comes and goes --------------------------------------------------------------------------------------


class FakePort:
    """A serial port that gives `chunks` and then breaks."""

    def __init__(self, *chunks: bytes, takes: int = 1_000_000) -> None:
        self._chunks = list(chunks)
        self._takes = takes
        self.written = b""
        self.closed = False

    @property
    def in_waiting(self) -> int:
        return len(self._chunks[0]) if self._chunks else 0

    def read(self, size: int = 1) -> bytes:
        if not self._chunks:
            raise OSError(5, "Input/output error")
        return self._chunks.pop(0)

    def write(self, data: bytes, /) -> int:
        self.written += data
        if len(self.written) > self._takes:
            raise OSError("Write timeout")
        return len(data)

    def close(self) -> None:
        self.closed = True


def serve(conversation: TerminalSession, *opened: FakePort | Exception) -> list[float]:
    """Serve the ports one after the other; what was waited between two attempts."""
    coming = list(opened)
    waited: list[float] = []

    def open_next() -> FakePort:
        if len(coming) == 1:
            line.stopping = True
        following = coming.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    line = SerialServer(open_next, conversation, waited.append, lambda: None)
    line.serve()
    return waited


def test_vanished_port_ends_the_login_and_is_opened_again(conversation, guard):
    first, second = FakePort(LOGIN), FakePort(b"off 5\r")
    serve(conversation, first, second, FakePort())
    assert (first.closed, second.closed) == (True, True)
    assert "Logged in as tech" in first.written.decode()
    assert second.written.decode().startswith("阳光花园一号充电柜")
    assert guard.asked == []


def test_terminal_that_takes_nothing_is_a_lost_line(conversation):
    stuck = FakePort(b"x\r" * 10, takes=150)
    serve(conversation, stuck, FakePort())
    assert stuck.closed


def test_absent_port_is_tried_later_and_later_and_said_once(conversation, caplog):
    absent = [OSError(2, "could not open port /dev/ttyUSB0") for _ in range(6)]
    assert serve(conversation, *absent) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert [record.getMessage() for record in caplog.records] == [
        "console port: [Errno 2] could not open port /dev/ttyUSB0; trying again"
    ]


def test_nobody_at_the_other_end_is_no_error(conversation, caplog):
    assert serve(conversation, UnpluggedError("no terminal"), UnpluggedError("no terminal")) == []
    assert caplog.records == []


class TalkingPort(FakePort):
    """A port at which a person types `interrupting` while a text is being sent."""

    def __init__(self, interrupting: bytes, *chunks: bytes) -> None:
        super().__init__(*chunks)
        self._interrupting = interrupting

    def write(self, data: bytes, /) -> int:
        if self._interrupting and len(self.written) > 1500:
            self._chunks.insert(0, self._interrupting)
            self._interrupting = b""
        return super().write(data)


def test_control_c_ends_a_long_text(conversation):
    whole, cut = FakePort(LOGIN, b"limits\r"), TalkingPort(b"\x03", LOGIN, b"limits\r")
    serve(conversation, whole, cut, FakePort())
    assert b"outlet 10 max_power_w" in whole.written
    assert b"outlet 10 max_power_w" not in cut.written
    assert cut.written.endswith(b"SG-1> ")


def test_what_is_typed_during_a_long_text_comes_after_it(conversation):
    port = TalkingPort(b"faults\r", LOGIN, b"limits\r")
    serve(conversation, port, FakePort())
    assert port.written.index(b"outlet 10 max_power_w") < port.written.index(b"Short circuit, latched")


def test_yes_typed_before_the_question_is_shown_does_nothing(conversation, guard):
    asked = FakePort(LOGIN, b"clear 5\r", b"yes\r")
    serve(conversation, asked, FakePort())
    assert asked.written.endswith(b"Type yes to go on: ")
    assert guard.asked == []


def test_control_c_typed_before_the_question_is_shown_answers_no(conversation, guard):
    port = FakePort(LOGIN, b"clear 5\r", b"ye\x03s\r")
    serve(conversation, port, FakePort())
    assert b"^C\r\nSG-1> " in port.written
    assert guard.asked == []


class ModemLine:
    """The part of `serial.Serial` that `CarrierDetectPort` uses; `cd` is the carrier."""

    def __init__(self, *carrier: bool | None) -> None:
        self._carrier = list(carrier)
        self.in_waiting = 0

    @property
    def cd(self) -> bool:
        now = self._carrier.pop(0) if len(self._carrier) > 1 else self._carrier[0]
        if now is None:
            raise OSError(25, "Inappropriate ioctl for device")
        return now

    def read(self, size: int) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("carrier", "hangs_up"),
    [
        ((True, True, False), True),
        ((False, True, False), True),
        ((False, False, False), False),  # a cable without that wire
        ((None, None, None), False),  # a pseudo-terminal
    ],
)
def test_carrier_that_drops_is_a_hang_up(carrier, hangs_up):
    wire = CarrierDetectPort(ModemLine(*carrier))
    wire.read()
    if hangs_up:
        with pytest.raises(OSError, match="hung up"):
            wire.read()
    else:
        assert wire.read() == b""


# --- a cable of pseudo-terminals, opened by pyserial -----------------------------------------------------------------


@pytest.fixture
def cable():
    made = PtyPair()
    yield made
    made.close()


def read_until(descriptor: int, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        assert select.select([descriptor], [], [], WITHIN_S)[0], f"nothing after {data!r}"
        data += os.read(descriptor, 4096)
    return data


def wait_unplugged(cable: PtyPair) -> None:
    with cable._plugged:
        assert cable._plugged.wait_for(lambda: cable._device is None, WITHIN_S)


def test_cable_without_a_terminal_is_unplugged(cable):
    with pytest.raises(UnpluggedError):
        cable.device(0)


def test_cable_carries_every_byte_both_ways(cable):
    terminal = os.open(cable.terminal, os.O_RDWR | os.O_NOCTTY)
    try:
        port = open_port(cable.device(WITHIN_S), 115_200)
        everything = bytes(range(256))
        os.write(terminal, everything)
        assert port.read(256) == everything
        port.write(everything)
        assert read_until(terminal, everything[-1:]) == everything
        port.close()
    finally:
        os.close(terminal)


def test_more_than_the_terminal_takes_at_once_arrives_whole(cable):
    """All bytes arrive if the person's terminal is slower than the console."""
    terminal = os.open(cable.terminal, os.O_RDWR | os.O_NOCTTY)
    port = open_port(cable.device(WITHIN_S), 115_200)
    sent = b"".join(b"%06d\r\n" % number for number in range(20_000)) + b"!"
    writer = threading.Thread(target=port.write, args=(sent,))
    writer.start()
    try:
        assert read_until(terminal, b"!") == sent
    finally:
        writer.join()
        port.close()
        os.close(terminal)


def test_closing_the_terminal_pulls_the_cable_and_opening_plugs_it_in_again(cable):
    for _ in range(3):
        terminal = os.open(cable.terminal, os.O_RDWR | os.O_NOCTTY)
        port = open_port(cable.device(WITHIN_S), 115_200)
        os.write(terminal, b"x")
        assert port.read(1) == b"x"
        os.close(terminal)
        wait_unplugged(cable)
        with pytest.raises(OSError, match="device"):
            port.read(1)
        port.close()


def test_whole_console_over_a_cable(cable, conversation, guard):
    line = SerialServer(lambda: open_port(cable.device(0.1), 115_200), conversation, lambda seconds: None, lambda: None)
    thread = threading.Thread(target=line.serve)
    thread.start()
    try:
        for _ in range(2):
            terminal = os.open(cable.terminal, os.O_RDWR | os.O_NOCTTY)
            read_until(terminal, "账号 login: ".encode())
            os.write(terminal, LOGIN)
            read_until(terminal, b"SG-1> ")
            os.write(terminal, b"faults\r")
            assert b"Short circuit, latched" in read_until(terminal, b"SG-1> ")
            os.close(terminal)
            wait_unplugged(cable)
        assert guard.asked == []
    finally:
        line.stopping = True
        thread.join(WITHIN_S)
    assert not thread.is_alive()


# --- the guard's connection ------------------------------------------------------------------------------------------


class Connection(DirectGuardClient):
    """A connection that breaks when told."""

    def __init__(self) -> None:
        super().__init__(FakeGuard.showing(snapshot(SHORTED)))
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_connection_is_made_once_and_again_after_the_guard_was_away():
    made: list[Connection] = []

    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    line = ReconnectingGuardClient(connect)
    line.snapshot()
    line.snapshot()
    assert len(made) == 1
    made[0].gone = True
    assert line.snapshot() == snapshot(SHORTED)
    assert (len(made), made[0].closed, made[1].closed) == (2, True, False)


def test_guard_gone_is_one_error_at_once_and_not_remembered():
    attempts = 0
    gone = True

    def connect() -> Connection:
        nonlocal attempts
        attempts += 1
        if gone:
            raise LinkError("guard.sock: no guard answers")
        return Connection()

    line = ReconnectingGuardClient(connect)
    for tried in (1, 2):
        with pytest.raises(LinkError):
            line.snapshot()
        assert attempts == tried
    gone = False
    assert line.snapshot() == snapshot(SHORTED)


def test_fresh_connection_that_breaks_is_closed_and_not_tried_for_ever():
    broken = Connection()
    broken.gone = True
    line = ReconnectingGuardClient(lambda: broken)
    with pytest.raises(LinkError):
        line.snapshot()
    assert broken.closed
