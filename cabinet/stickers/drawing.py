"""A drawing of filled outlines in millimetres, written as SVG or as the pages of a PDF."""

import zlib
from html import escape
from typing import NamedTuple

from cabinet import plain_text
from cabinet.stickers.font import Font, Step

POINTS_PER_MM = 72 / 25.4
A4_MM = (210.0, 297.0)


class Shape(NamedTuple):
    """Outlines filled with one grey, 0 black to 1 white."""

    steps: tuple[Step, ...]
    grey: float = 0.0


class Drawing:
    """Drawing of one sticker; the origin is its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self.shapes: list[Shape] = []

    def rectangle(self, x: float, y: float, width: float, height: float, grey: float = 0.0) -> None:
        self.rectangles([(x, y, width, height)], grey)

    def rectangles(self, places: list[tuple[float, float, float, float]], grey: float = 0.0) -> None:
        """Add rectangles as one shape, to avoid hairlines between neighbours."""
        steps: list[Step] = []
        for x, y, width, height in places:
            steps += [("M", (x, y)), ("L", (x + width, y)), ("L", (x + width, y + height)), ("L", (x, y + height))]
            steps.append(("Z", ()))
        self.shapes.append(Shape(tuple(steps), grey))

    def text(self, font: Font, text: str, x: float, baseline: float, size: float, grey: float = 0.0) -> None:
        """Add text from `x` to the right; `size` is the em in millimetres."""
        steps: list[Step] = []
        for character in text:
            glyph = font.glyph(character)
            for letter, values in glyph.steps:
                moved = tuple(value * size + (x if place % 2 == 0 else baseline) for place, value in enumerate(values))
                steps.append((letter, moved))
            x += glyph.width * size
        self.shapes.append(Shape(tuple(steps), grey))

    def fitted(
        self, font: Font, text: str, x: float, baseline: float, size: float, most: float, grey: float = 0.0
    ) -> None:
        """Add text, reduced if it would be wider than `most`."""
        width = font.width(text, size)
        self.text(font, text, x, baseline, size * min(1.0, most / width) if width else size, grey)


def svg(drawing: Drawing, title: str) -> str:
    """Return one sticker in its true size."""
    paths = "".join(
        f'<path fill="{_grey(shape.grey)}" fill-rule="nonzero" d="{_path(shape.steps)}"/>\n' for shape in drawing.shapes
    )
    name = escape(plain_text.one_line(title), quote=False)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width:g}mm" height="{drawing.height:g}mm" '
        f'viewBox="0 0 {drawing.width:g} {drawing.height:g}">\n<title>{name}</title>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{paths}</svg>\n'
    )


def _path(steps: tuple[Step, ...]) -> str:
    return "".join(letter + " ".join(f"{value:.3f}" for value in values) for letter, values in steps)


def _grey(grey: float) -> str:
    level = round(grey * 255)
    return f"#{level:02x}{level:02x}{level:02x}"


def pdf(pages: list[list[tuple[float, float, Drawing]]], title: str) -> bytes:
    """Return A4 pages of drawings, each at (x, y) of the page. Outlines only: they need no font in the viewer."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>"
        % (len(pages), b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))),
        b"<< /Title <%s> >>" % ("\ufeff" + plain_text.one_line(title)).encode("utf-16-be").hex().encode(),
    ]
    width, height = (side * POINTS_PER_MM for side in A4_MM)
    for number, placed in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Resources << >> /Contents %d 0 R >>"
            % (width, height, 5 + 2 * number)
        )
        packed = zlib.compress(_content(placed).encode("ascii"), 9)
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed))
    return _file(objects)


def _content(placed: list[tuple[float, float, Drawing]]) -> str:
    lines = [f"{POINTS_PER_MM:.6f} 0 0 {-POINTS_PER_MM:.6f} 0 {A4_MM[1] * POINTS_PER_MM:.4f} cm"]  # y down, millimetres
    for x, y, drawing in placed:
        lines.append(f"q 1 0 0 1 {x:.3f} {y:.3f} cm")
        for shape in drawing.shapes:
            lines.append(f"{shape.grey:.3f} g")
            lines += [_operator(letter, values) for letter, values in shape.steps]
            lines.append("f")
        lines.append("Q")
    return "\n".join(lines)


def _operator(letter: str, values: tuple[float, ...]) -> str:
    return " ".join([*(f"{value:.3f}" for value in values), {"M": "m", "L": "l", "C": "c", "Z": "h"}[letter]])


def _file(objects: list[bytes]) -> bytes:
    """Return the file of objects numbered from 1 in order; the first is the catalogue, the third the metadata."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 3 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
