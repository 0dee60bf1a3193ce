"""`cabinet stickers`: make printable stickers for the outlets, as one A4 PDF and one SVG each."""

import argparse
import contextlib
import re
from pathlib import Path

import msgspec

from cabinet import config as configuration
from cabinet import normal_form
from cabinet.commands.options import add_config
from cabinet.config.keys import Config, OutletSection
from cabinet.errors import CabinetError, os_error_at
from cabinet.service.accounts import admin
from cabinet.stickers import font as fonts
from cabinet.stickers.drawing import pdf, svg
from cabinet.stickers.sticker import DEFAULT_MM, MAX_MM, MIN_MM, draw, sheets, sticker_text
from cabinet.store import fleet_orders
from cabinet.store.database import Database

_SIZE = re.compile(r"([0-9]{2,3}(?:\.[0-9])?)x([0-9]{2,3}(?:\.[0-9])?)")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Each sticker has the code, the outlet's number, the site's name and address in clear, and the phone.\n"
        "A cabinet with a fleet prints the address and the text that the fleet gave it.\n"
        "Letters are drawn as outlines from a font of this machine with Chinese characters: printers need none.\n\n"
        "examples:\n"
        "  cabinet stickers                             stickers.pdf and an SVG each, in ./stickers\n"
        "  cabinet stickers --outlets 3,5-7 --out new   some of them, in another folder\n"
        "  cabinet stickers --size 120x80               another label, width x height in millimetres"
    )
    add_config(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("stickers"), metavar="DIR", help="folder (default: ./stickers)"
    )
    parser.add_argument("--outlets", metavar="LIST", help="such as 3,5-7 (default: all)")
    parser.add_argument(
        "--size", type=size, default=DEFAULT_MM, metavar="WxH",
        help=f"of a label in millimetres, {MIN_MM[0]:g}x{MIN_MM[1]:g} to {MAX_MM[0]:g}x{MAX_MM[1]:g} "
        f"(default: {DEFAULT_MM[0]:g}x{DEFAULT_MM[1]:g}, ten on a page)",
    )  # fmt: skip
    parser.add_argument(
        "--font", type=Path, metavar="FILE", help="a font with Chinese characters (default: the best here)"
    )


def size(text: str) -> tuple[float, float]:
    """Return width and height in mm. Raises ValueError, which argparse reports."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    width, height = float(found[1]), float(found[2])
    if not (MIN_MM[0] <= width <= MAX_MM[0] and MIN_MM[1] <= height <= MAX_MM[1]):
        raise ValueError(text)
    return width, height


def main(args: argparse.Namespace) -> int:
    config, scan = printed(configuration.load(args.config))
    made = write(config, chosen(config, args.outlets), args.size, args.out, args.font, scan)
    print(f"{made} stickers for {config.site.public_url}: {args.out / 'stickers.pdf'}, and an SVG each beside it")
    return 0


def printed(config: Config) -> tuple[Config, str]:
    """Return the configuration with the address that the fleet gave for the codes, if any, and its text for stickers.

    Raises StoreError if the database cannot be read: stickers last for ten years, so no other address is guessed.
    """
    path = admin.database_path(config)
    if not config.uplink.enabled or not path.exists():
        return config, ""
    with contextlib.closing(Database(path, read_only=True)) as database, database.reading() as connection:
        desired = fleet_orders.desired(connection)
    address, text = (desired[kind].value if kind in desired else "" for kind in ("public_url", "sticker_text"))
    site = msgspec.structs.replace(config.site, public_url=address or config.site.public_url)
    return msgspec.structs.replace(config, site=site), text


def chosen(config: Config, text: str | None) -> list[OutletSection]:
    """Return the outlets of a list such as 3,5-7, in its order. Raises CabinetError."""
    if text is None:
        return list(config.outlet)
    numbers: list[int] = []
    for part in normal_form.spelling(text).split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first + last) > 4:
            raise CabinetError(f"--outlets {text}: numbers with commas, and ranges such as 5-7")
        numbers += range(int(first), int(last or first) + 1)
    outlets = [config.outlet_by_number(number) for number in dict.fromkeys(numbers)]
    if not outlets or None in outlets:
        known = ", ".join(str(outlet.number) for outlet in config.outlet)
        raise CabinetError(f"--outlets {text}: this cabinet has the outlets {known}")
    return [outlet for outlet in outlets if outlet is not None]


def write(
    config: Config,
    outlets: list[OutletSection],
    label: tuple[float, float],
    folder: Path,
    font_file: Path | None,
    scan: str = "",
) -> int:
    """Draw all stickers, then write the files. Return the number of stickers. Raises CabinetError."""
    said = [sticker_text(config.site, outlet, scan) for outlet in outlets]
    font = fonts.find("".join(each.everything() for each in said) + " ·", font_file)
    drawings = [draw(each, font, *label) for each in said]
    files = {"stickers.pdf": pdf(sheets(drawings), f"{config.site.site_id} {config.site.public_url}")}
    for outlet, drawing in zip(outlets, drawings, strict=True):
        files[f"outlet-{outlet.number:02}-{outlet.code}.svg"] = svg(drawing, f"{outlet.number} {outlet.code}").encode()
    with os_error_at(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return len(drawings)
