"""A technician's laptop on the console's line: pyserial on the pty that stands in for the cable."""

import re
import time

import serial

from cabinet.system.run_folder import console_terminal
from cabinet_testing.real_cabinet import RealCabinet

ANSWER_WITHIN_S = 20.0
PROMPT = r"> $"


class SerialTerminal:
    """Types lines and reads until the prompt is back."""

    def __init__(self, cabinet: RealCabinet) -> None:
        self._cabinet = cabinet
        self._line = serial.Serial(str((console_terminal(cabinet.run)).resolve()), 115_200, timeout=0.05)

    def __enter__(self) -> "SerialTerminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._type("logout")
        self._line.close()

    def log_in(self) -> None:
        """Log in as the account `e2e`, made for these tests."""
        pin = self._cabinet.command("console", "--new-pin", "e2e").strip().split()[-1]
        self._line.write(b"\x15\r")  # Ctrl-U, Enter: whatever the line held, there is a prompt now
        self.read_until(r"(login|用户名|账号).*[:：] ?$")
        self._type("e2e")
        self.read_until(r"PIN.*[:：] ?$")
        self._type(pin)
        self.read_until(PROMPT)

    def run(self, command: str) -> str:
        """Return the command's output."""
        self._type(command)
        return self.read_until(PROMPT)

    def ask(self, command: str, pattern: str) -> str:
        """Return the output up to a question that ends in `pattern`."""
        self._type(command)
        return self.read_until(pattern)

    def clear(self, outlet: int) -> str:
        """Clear a latch, saying yes when asked."""
        self._type(f"clear {outlet}")
        self.read_until(r"yes.*[:：] ?$")
        return self.run("yes")

    def _type(self, text: str) -> None:
        self._line.write(text.encode() + b"\r")

    def read_until(self, pattern: str) -> str:
        """Everything up to and with what ends in `pattern`; AssertionError with what came instead."""
        got = b""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            got += self._line.read(4096)
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", got.decode(errors="replace"))
            if re.search(pattern, text):
                return text
        raise AssertionError(f"waited for {pattern!r} on the console, got {got!r}")
