"""What a Raspberry Pi's firmware and kernel must be told for a cabinet: lines of config.txt and cmdline.txt. Pure.

Our lines stand between two marks at the end of config.txt, where the last word counts; nobody else's are touched.
"""

import re

from cabinet.config.keys import Config
from cabinet.wiring import Place

BEGIN = "# --- cabinet: begin (made by `cabinet boot`; change cabinet.toml, not these lines)"
END = "# --- cabinet: end"

_BLOCK = re.compile(rf"\n*^{re.escape(BEGIN)}$.*?^{re.escape(END)}$\n?", re.MULTILINE | re.DOTALL)
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


def with_lines(config_txt: str, wanted: list[str]) -> str:
    """`config_txt` with our lines as they should be, once and at its end; the same text if they are already."""
    kept = without_lines(config_txt)
    return f"{kept}{'' if kept.endswith(chr(10)) or not kept else chr(10)}\n" + "\n".join([BEGIN, *wanted, END]) + "\n"


def without_lines(config_txt: str) -> str:
    """As it was before."""
    return _BLOCK.sub("\n", config_txt).lstrip("\n") if BEGIN in config_txt else config_txt


def without_serial_login(cmdline_txt: str) -> str:
    """The kernel's command line without a console on a serial port: its messages would end up in the dialogue."""
    words = [word for word in cmdline_txt.split() if not re.match(r"console=(serial|ttyAMA|ttyS)", word)]
    return " ".join(words) + "\n"
