"""Raspberry Pi firmware and kernel settings for a cabinet: lines of config.txt and cmdline.txt. Pure.

The cabinet's lines stand between two marks at the end of config.txt, as the last setting takes effect. Both files
belong to others and are edited as bytes: all other content stays unchanged, in any encoding and with any line ends.
"""

import re

from cabinet.config.keys import Config
from cabinet.config.wiring import PinRef

BEGIN = "# --- cabinet: begin (made by `cabinet boot`; change cabinet.toml, not these lines)"
END = "# --- cabinet: end"

_BLOCK = re.compile(
    rb"(?:\r?\n)?^%s\r?$.*?^%s\r?$(?:\n|\Z)" % (re.escape(BEGIN.encode()), re.escape(END.encode())),
    re.MULTILINE | re.DOTALL,
)
_BOM = b"\xef\xbb\xbf"
# A word of the kernel's command line ends at a blank outside double quotes (kernel: lib/cmdline.c, next_arg). The byte
# A0 is a blank there too (lib/ctype.c): so is the second byte of a no-break blank, copied from a page, in UTF-8.
_BLANKS = b" \t\r\f\v\xa0"
_WORD = re.compile(rb'(?:"[^"]*(?:"|$)|[^"%s])+' % _BLANKS)
_SERIAL_LOGIN = re.compile(rb'"?console="?(?:serial|ttyAMA|ttyS)')
_FOR_INIT = b"--"  # words after it are not the kernel's
_SERIAL = ("/dev/serial", "/dev/ttyAMA", "/dev/ttyS")


def lines(config: Config) -> list[str]:
    """Return the settings, each with a comment that gives the reason."""
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
        "# full clocks: on a Pi 4 the bus runs with the core clock, which falls to 200 MHz otherwise",
        "[pi4]",
        "arm_boost=1",
        "core_freq=500",
        "core_freq_min=500",
        "[all]",
    ]
    if outputs:
        wanted += ["# coils stay off until the guard has them", f"gpio={','.join(map(str, outputs))}=ip,pd"]
    if console_on_board_uart(config):
        wanted += ["# the serial port of the maintenance console", "enable_uart=1"]
    return wanted


def console_on_board_uart(config: Config) -> bool:
    """Return whether the kernel may also use the console's port for its own messages and a login."""
    return config.console.port.startswith(_SERIAL)


def _outputs(config: Config) -> set[int]:
    """Return the lines that close a circuit when they are high."""
    hardware = config.hardware
    places = [PinRef.parse(outlet.relay) for outlet in config.outlet]
    relays = {place.pin for place in places if place.expander is None}
    return relays | {pin for pin in (hardware.contactor_pin, hardware.heartbeat_pin) if pin is not None}


def with_lines(config_txt: bytes, wanted: list[str]) -> bytes:
    """Return `config_txt` with the wanted lines once, at its end; the same bytes if they are there already."""
    kept = without_lines(config_txt)
    end = b"\r\n" if b"\r\n" in kept else b"\n"
    return kept + end + b"".join(line.encode() + end for line in [BEGIN, *wanted, END])


def without_lines(config_txt: bytes) -> bytes:
    """Return the file without the cabinet's lines, byte for byte; lines added after them stay separate lines."""
    found = _BLOCK.search(config_txt)
    if found is None:
        return config_txt
    before, after = config_txt[: found.start()], config_txt[found.end() :]
    if before and after and not before.endswith(b"\n"):
        before += b"\n"
    return without_lines(before + after)


def without_serial_login(cmdline_txt: bytes) -> bytes:
    """Remove a console on a serial port from the kernel's command line: its messages would mix with the dialogue.

    Only one line of the file is the kernel's: the first that is not empty and does not begin with `#`; notes above it
    and old lines below are not changed. Each removed word takes one blank with it.
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
        if line[end : end + 1] not in (b"", b"\r") and line[end] in _BLANKS:
            end += 1
        elif start and line[start - 1] in _BLANKS:
            start -= 1
        line = line[:start] + line[end:]
    return line
