"""Draw docs/images/wiring.svg: the wiring of the example cabinet, with the pins of its configuration.

`python tools/draw_wiring.py` writes it; a test checks that the picture and cabinet/examples/cabinet.toml agree.
"""

import sys
from html import escape
from pathlib import Path

from cabinet import config as configuration
from cabinet.config import Config
from cabinet.config.wiring import PinRef

ROOT = Path(__file__).resolve().parent.parent

PICTURE = ROOT / "docs" / "images" / "wiring.svg"
EXAMPLE = ROOT / "cabinet" / "examples" / "cabinet.toml"

MAINS, LOW, SIGNAL, EARTH = "#b3261e", "#1a5fb4", "#26734d", "#6b8e00"
HEADER_PINS = {2: 3, 3: 5, 4: 7, 5: 29, 6: 31, 12: 32, 13: 33, 14: 8, 15: 10, 16: 36, 17: 11, 18: 12, 19: 35, 20: 38,
               21: 40, 22: 15, 23: 16, 24: 18, 25: 22, 26: 37, 27: 13}  # fmt: skip
STYLE = (
    "text{font:13px sans-serif;fill:#222}.head{font-weight:bold}.small{font-size:11px}"
    "rect{fill:#fff;stroke:#444;stroke-width:1.5}path{fill:none;stroke-width:2.5}.barrier{stroke-dasharray:7 5}"
)


class Drawing:
    """An SVG drawing with one shape per call; coordinates are in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._parts: list[str] = []

    def box(self, x: int, y: int, width: int, height: int, head: str, *lines: str) -> None:
        self._parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>')
        self.text(x + 8, y + 18, head, "head")
        for number, line in enumerate(lines):
            self.text(x + 8, y + 36 + 15 * number, line, "small")

    def wire(self, colour: str, *points: tuple[int, int], kind: str = "") -> None:
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'<path d="{path}" stroke="{colour}" class="{kind}"/>')

    def text(self, x: int, y: int, words: str, kind: str = "small") -> None:
        self._parts.append(f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>')

    def __str__(self) -> str:
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        title = "<title>Wiring of a cabinet: mains side, barrier, low-voltage side</title>"
        white = f'<rect width="{width}" height="{height}" style="stroke:none"/>'
        return "\n".join([head, title, f"<style>{STYLE}</style>", white, *self._parts, "</svg>"]) + "\n"


def main() -> int:
    PICTURE.write_text(drawn(configuration.load(EXAMPLE)), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
    return 0


def drawn(config: Config) -> str:
    """Return the picture of that cabinet. Pure."""
    drawing = Drawing(1180, 690)
    _mains(drawing, config)
    _barrier(drawing)
    _low_voltage(drawing, config)
    return str(drawing)


def _mains(drawing: Drawing, config: Config) -> None:
    outlets = len(config.outlet)
    drawing.text(20, 28, "Mains side, 220 V: touch nothing here unless it is off, locked and measured", "head")
    drawing.box(20, 50, 120, 76, "Supply", "L, N, PE", "by an electrician")
    drawing.box(180, 50, 130, 76, "Breaker", "two-pole, type C", "as the supply")
    drawing.box(350, 50, 130, 76, "RCD", "30 mA, type A", "one for 2-3 outlets")
    drawing.box(520, 50, 130, 76, "Contactor Q1", "normally open", "coil 24 V DC")
    for left in (140, 310, 480):
        drawing.wire(MAINS, (left, 88), (left + 40, 88))
    drawing.wire(MAINS, (585, 126), (585, 160))
    drawing.box(520, 160, 130, 92, "Fuse F1..", f"one an outlet, {outlets}", "10 A gG, 10x38", "breaks the kA")
    drawing.wire(MAINS, (585, 252), (585, 286))
    drawing.box(520, 286, 130, 92, f"Relay K1..K{outlets}", "normally open", "16 A, 80 A inrush", "coil 24 V + TVS")
    drawing.wire(MAINS, (585, 378), (585, 412))
    drawing.box(520, 412, 130, 76, "Current transf.", "its two windings", "are the barrier")
    drawing.wire(MAINS, (585, 488), (585, 522))
    drawing.box(520, 522, 130, 92, f"Outlet 1..{outlets}", "10 A, shuttered", "insulated TMP102 at", "its contacts")
    drawing.wire(EARTH, (80, 126), (80, 590), (520, 590))
    drawing.text(90, 582, "PE: case, door, outlets; never switched, never fused")
    drawing.box(
        180,
        286,
        230,
        92,
        "Voltage transformer",
        "behind the RCD, before Q1:",
        "mains are seen with Q1 open;",
        "its two windings are the barrier",
    )
    drawing.wire(MAINS, (415, 126), (415, 200), (295, 200), (295, 286))
    drawing.box(180, 160, 90, 60, "24 V, 5 V", "class II supply")
    drawing.wire(MAINS, (330, 88), (330, 190), (270, 190))


def _barrier(drawing: Drawing) -> None:
    drawing.wire("#444", (700, 40), (700, 655), kind="barrier")
    drawing.text(560, 676, "reinforced insulation: 8 mm creepage and clearance; nothing crosses but coils and windings")


def _low_voltage(drawing: Drawing, config: Config) -> None:
    hardware = config.hardware
    drawing.text(730, 28, "Low-voltage side, 24 V, 5 V, 3.3 V", "head")
    chips = len({(outlet.meter.mux, outlet.meter.channel) for outlet in config.outlet})
    expander = f"0x{hardware.expanders[0]:02x}" if hardware.expanders else "none"
    drawing.box(
        730,
        50,
        200,
        122,
        "Raspberry Pi",
        _pin("SDA", 2),
        _pin("SCL", 3),
        "TXD GPIO 14 (pin 8)",
        "RXD GPIO 15 (pin 10)",
        "console: RS-232 or USB",
    )
    drawing.box(
        730,
        220,
        200,
        92,
        f"MCP23017 {expander}",
        "relays, before the muxes:",
        "they open although a meter",
        "holds its segment",
    )
    drawing.wire(LOW, (830, 172), (830, 220))
    drawing.text(720, 205, "I2C 3.3 V, 2.2k up")
    drawing.wire(LOW, (830, 312), (830, 350))
    mux = ", ".join(f"0x{address:02x}" for address in hardware.muxes)
    drawing.box(730, 350, 200, 62, f"TCA9548A {mux}", _pin("RESET", hardware.mux_reset_pin))
    drawing.wire(LOW, (830, 412), (830, 450))
    drawing.box(
        730,
        450,
        200,
        92,
        f"{chips} ADE7953",
        "one for two outlets",
        "from the transformers only:",
        "its ground is the Pi's",
    )
    drawing.wire(SIGNAL, (650, 450), (715, 450), (715, 490), (730, 490))
    drawing.box(
        730, 580, 200, 62, "TMP102", f"{chips} at outlets, 0x48", f"inside, {_address(hardware.inside_thermometer)}"
    )
    drawing.wire(LOW, (830, 542), (830, 580))
    drawing.wire(SIGNAL, (650, 560), (690, 560), (690, 612), (730, 612))
    drawing.box(
        960,
        50,
        200,
        107,
        "Coil supply gate",
        _pin("heartbeat", hardware.heartbeat_pin),
        "74HC123 or the like: no edge",
        "for 100 ms and 24 V to the",
        "coils of K and Q1 is off",
    )
    drawing.wire(SIGNAL, (930, 100), (960, 100))
    drawing.box(
        960,
        190,
        200,
        92,
        "Coil drivers",
        _pin("Q1", hardware.contactor_pin),
        "N-FET, 10k gate to ground,",
        "36 V TVS, no plain diode",
    )
    drawing.wire(LOW, (1060, 157), (1060, 190))
    drawing.wire(SIGNAL, (930, 266), (960, 266))
    drawing.wire(SIGNAL, (960, 240), (945, 240), (945, 182), (710, 182), (710, 330), (650, 330))
    drawing.wire(SIGNAL, (710, 182), (710, 88), (650, 88))
    drawing.box(960, 320, 200, 52 + 15 * len(config.outlet), "Alert lines, active low", *_alerts(config))
    drawing.wire(SIGNAL, (930, 496), (960, 496))


def _pin(name: str, number: int | None) -> str:
    return f"{name}: not fitted" if number is None else f"{name} GPIO {number} (pin {HEADER_PINS[number]})"


def _address(address: int | None) -> str:
    return "not fitted" if address is None else f"0x{address:02x}"


def _alerts(config: Config) -> list[str]:
    """Return one line per outlet with the end of its alert line."""
    lines = []
    for outlet in config.outlet:
        place = None if outlet.alert is None else PinRef.parse(outlet.alert)
        where = (
            "by polling only"
            if place is None
            else _pin("", place.pin).strip()
            if place.expander is None
            else str(outlet.alert)
        )
        lines.append(f"outlet {outlet.number}, {'IRQ' if outlet.meter.input == 'A' else 'ALT'}: {where}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
