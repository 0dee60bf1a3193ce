"""What a Raspberry Pi's firmware and kernel must be told for a cabinet: lines of config.txt and cmdline.txt. Pure.

Our lines stand between two marks at the end of config.txt, where the last word counts. Both files belong to others and
are edited as bytes: whatever is not ours stays as it is, in any encoding and with any line ends.
"""

import re

from cabinet.config.keys import Config
from cabinet.wiring import Place

BEGIN = "# --- cabinet: begin (made by `cabinet boot`; change cabinet.toml, not these lines)"
END = "# --- cabinet: end"

_BLOCK = re.compile(
    rb"(?:\r?\n)?^%s\r?$.*?^%s\r?$(?:\n|\Z)" % (re.escape(BEGIN.encode()), re.escape(END.encode())),
    re.MULTILINE | re.DOTALL,
)
_BOM = b"\xef\xbb\xbf"
# A word of the kernel's command line ends at a blank that is not in double quotes (kernel: lib/cmdline.c, next_arg).
_WORD = re.compile(rb'(?:"[^"]*(?:"|$)|[^ \t\r"])+')
_SERIAL_LOGIN = re.compile(rb'"?console="?(?:serial|ttyAMA|ttyS)')
_FOR_INIT = b"--"  # what follows is not the kernel's
_SERIAL = ("/dev/serial", "/dev/ttyAMA", "/dev/ttyS")


def lines(config: Config) -> list[str]:
    """The settings, each with the comment that says why."""
    outputs = sorted(_outputs(config))
    wanted = [
        "[all]",
        "# the bus of meters, thermometers and expanders",
        "dtparam=i2c_arm=on",
        f"dtparam=i2c_arm_baudrate={config.hardware.bus_speed_hz}",
        "# an output falls back when the process that drives it dies",
        "dtparam=strict_gpiod",
        "# the board's own watchdog, which systemd feeds",
        "dtparam=watchdog=on",
    ]
    if outputs:
        wanted += ["# coils stay off until the guard has them", f"gpio={','.join(map(str, outputs))}=ip,pd"]
    if on_the_boards_uart(config):
        wanted += ["# the serial port of the maintenance console", "enable_uart=1"]
    return wanted


def on_the_boards_uart(config: Config) -> bool:
    """Whether the console's port is one that the kernel may also use for its own messages and a login."""
    return config.console.port.startswith(_SERIAL)


def _outputs(config: Config) -> set[int]:
    """Lines that close something when they are high."""
    hardware = config.hardware
    places = [Place.parse(outlet.relay) for outlet in config.outlet]
    relays = {place.pin for place in places if place.expander is None}
    return relays | {pin for pin in (hardware.contactor_pin, hardware.heartbeat_pin) if pin is not None}


def with_lines(config_txt: bytes, wanted: list[str]) -> bytes:
    """`config_txt` with our lines as they should be, once and at its end; the same bytes if they are already."""
    kept = without_lines(config_txt)
    end = b"\r\n" if b"\r\n" in kept else b"\n"
    return kept + end + b"".join(line.encode() + end for line in [BEGIN, *wanted, END])


def without_lines(config_txt: bytes) -> bytes:
    """As it was before, byte for byte; lines that were added behind ours stay lines of their own."""
    found = _BLOCK.search(config_txt)
    if found is None:
        return config_txt
    before, after = config_txt[: found.start()], config_txt[found.end() :]
    if before and after and not before.endswith(b"\n"):
        before += b"\n"
    return without_lines(before + after)


def without_serial_login(cmdline_txt: bytes) -> bytes:
    """The kernel's command line without a console on a serial port: its messages would end up in the dialogue.

    Of the file one line is the kernel's, the first that is neither empty nor begins with `#`; notes above it and old
    lines below are not touched. Each word that goes takes one blank with it.
    """
    lines = cmdline_txt.split(b"\n")
    for number, line in enumerate(lines):
        if (text := line.removeprefix(_BOM).strip()) and not text.startswith(b"#"):
            lines[number] = _without_words(line)
            break
    return b"\n".join(lines)


def _without_words(line: bytes) -> bytes:
    going = []
    for word in _WORD.finditer(line):
        if word[0] == _FOR_INIT:
            break
        if _SERIAL_LOGIN.match(word[0]):
            going.append(word.span())
    for start, end in reversed(going):
        if line[end : end + 1] in (b" ", b"\t"):
            end += 1
        elif start and line[start - 1 : start] in (b" ", b"\t"):
            start -= 1
        line = line[:start] + line[end:]
    return line
