"""Content of one sticker, and the layout of stickers on a sheet. Pure.

+--------------------------------------------+
| [code]   3 号插座   Outlet 3               |
| [code]   扫码充电  Scan to charge          |
| [code]   C5T4                              |
| name of the site · it must open this domain|
| 服务电话 Service 000-0000-0000             |
+--------------------------------------------+
"""

from typing import NamedTuple
from urllib.parse import urlsplit

import segno

from cabinet.config.keys import OutletSection, SiteSection
from cabinet.stickers.drawing import A4_MM, Drawing
from cabinet.stickers.font import Font
from cabinet.texts import LANGUAGES, Texts

QUIET_ZONE_MODULES = 4  # modules of white around the code: ISO 18004
MIN_MM, MAX_MM = (60.0, 40.0), (190.0, 277.0)
DEFAULT_MM = (95.0, 55.0)  # ten on a sheet
PAGE_MARGIN = 5.0  # most printers cannot print closer to the edge
FRAME_GREY = 0.7


class StickerText(NamedTuple):
    """All text on one sticker."""

    address: str  # in the QR code
    domain: str
    number: str
    outlet: tuple[str, ...]
    scan: tuple[str, ...]
    typed: str
    site: tuple[str, ...]
    check: tuple[str, ...]
    phone: tuple[str, ...]

    def everything(self) -> str:
        parts = (self.outlet, self.scan, self.site, self.check, self.phone)
        return self.domain + self.number + self.typed + "".join("".join(part) for part in parts)


def sticker_text(site: SiteSection, outlet: OutletSection, scan: str = "") -> StickerText:
    """Return the texts, Chinese first, then English; the domain is readable, which reveals a swapped sticker.

    `scan`: in place of "Scan to charge".
    """
    texts = [Texts("stickers", language) for language in LANGUAGES]
    domain = urlsplit(site.public_url).netloc

    def both(key: str, **params: object) -> tuple[str, ...]:
        return tuple(t(f"sticker.{key}", **params) for t in texts)

    names = (site.name,) if site.name_en in ("", site.name) else (site.name, site.name_en)
    return StickerText(
        address=f"{site.public_url}/s/{outlet.code}",
        domain=domain,
        number=str(outlet.number),
        outlet=both("outlet"),
        scan=(scan, "") if scan else both("scan"),
        typed=f"{' '.join(both('code'))} {outlet.code}",
        site=names,
        check=both("check"),
        phone=both("phone", phone=site.complaint_phone),
    )


def draw(said: StickerText, font: Font, width: float, height: float) -> Drawing:
    """Draw a sticker in millimetres; everything scales with the label, and text that is too wide is reduced."""
    drawing = Drawing(width, height)
    unit = min(width / 95, height / 55)  # of the default label
    margin = 3 * unit
    _frame(drawing)
    foot = 15.5 * unit
    side = min(height - foot - 1.5 * margin, 0.42 * width)
    _code(drawing, said.address, margin, margin, side)
    left = margin + side + 3 * unit
    room = width - margin - left
    top = margin + max(0.0, (side - 36 * unit) / 2)
    number_size = 22 * unit
    number_width = min(font.width(said.number, number_size), room * 0.6)
    drawing.fitted(font, said.number, left, top + 16 * unit, number_size, number_width)
    beside = left + number_width + 2 * unit
    drawing.fitted(font, said.outlet[0], beside, top + 8.5 * unit, 7 * unit, width - margin - beside)
    drawing.fitted(font, said.outlet[1], beside, top + 15.5 * unit, 5 * unit, width - margin - beside)
    drawing.fitted(font, said.scan[0], left, top + 24 * unit, 6 * unit, room)
    drawing.fitted(font, said.scan[1], left, top + 28.6 * unit, 3.8 * unit, room)
    drawing.fitted(font, said.typed, left, top + 34.2 * unit, 4.4 * unit, room)
    _foot(drawing, said, font, unit, margin, height - foot + 0.5 * unit)
    return drawing


def _foot(drawing: Drawing, said: StickerText, font: Font, unit: float, margin: float, top: float) -> None:
    """Draw the site, the domain that the code must open, and the phone number for help."""
    room = drawing.width - 2 * margin
    drawing.rectangle(margin, top, room, 0.3 * unit, FRAME_GREY)
    drawing.fitted(font, " · ".join(said.site), margin, top + 4 * unit, 3 * unit, room)
    domain_size = 4.2 * unit
    domain_width = min(font.width(said.domain, domain_size), room * 0.55)
    drawing.fitted(font, said.domain, margin, top + 9 * unit, domain_size, domain_width)
    beside = margin + domain_width + 2 * unit
    drawing.fitted(font, said.check[0], beside, top + 7.2 * unit, 2.6 * unit, drawing.width - margin - beside)
    drawing.fitted(font, said.check[1], beside, top + 10 * unit, 2.2 * unit, drawing.width - margin - beside)
    drawing.fitted(font, "  ".join(said.phone), margin, top + 13.6 * unit, 3 * unit, room)


def _frame(drawing: Drawing) -> None:
    """Draw the cutting line."""
    line = 0.2
    drawing.rectangles(
        [(0, 0, drawing.width, line), (0, drawing.height - line, drawing.width, line), (0, 0, line, drawing.height),
         (drawing.width - line, 0, line, drawing.height)], FRAME_GREY,
    )  # fmt: skip


def _code(drawing: Drawing, address: str, x: float, y: float, side: float) -> None:
    """Draw the code with its quiet zone; it stays readable if a scratch destroys a quarter of it."""
    code = segno.make_qr(address, error="q", boost_error=True)
    rows = [list(row) for row in code.matrix]
    module = side / (len(rows) + 2 * QUIET_ZONE_MODULES)
    drawing.rectangles([
        (x + (column + QUIET_ZONE_MODULES) * module, y + (row + QUIET_ZONE_MODULES) * module, module, module)
        for row, line in enumerate(rows) for column, dark in enumerate(line) if dark
    ])  # fmt: skip


def sheets(drawings: list[Drawing], gap: float = 2.0) -> list[list[tuple[float, float, Drawing]]]:
    """Arrange the drawings on A4 pages, as many as fit, centred."""
    if not drawings:
        return []
    width, height = drawings[0].width, drawings[0].height
    across = max(1, int((A4_MM[0] - 2 * PAGE_MARGIN + gap) // (width + gap)))
    down = max(1, int((A4_MM[1] - 2 * PAGE_MARGIN + gap) // (height + gap)))
    left = (A4_MM[0] - across * width - (across - 1) * gap) / 2
    top = (A4_MM[1] - down * height - (down - 1) * gap) / 2
    pages = [drawings[start : start + across * down] for start in range(0, len(drawings), across * down)]
    return [
        [
            (left + (place % across) * (width + gap), top + (place // across) * (height + gap), drawing)
            for place, drawing in enumerate(page)
        ]
        for page in pages
    ]
