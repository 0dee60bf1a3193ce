"""Letters as outlines, from a font of this machine that has all the requested characters."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTCollection, TTFont, TTLibError

from cabinet.errors import CabinetError

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
# Plain and legible fonts first; then any other font that has the characters.
PREFERRED_FONTS = (
    "NotoSansCJK-Bold",
    "NotoSansCJK",
    "NotoSansSC",
    "SourceHanSans",
    "wqy-microhei",
    "wqy-zenhei",
    "DroidSansFallback",
)
SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})

Step = tuple[str, tuple[float, ...]]
"""`M`, `L`, `C` or `Z` and its coordinates, as in SVG and PDF; y goes down."""

Point = tuple[float, float]


class Glyph(NamedTuple):
    """Outline at the size of one unit, with its origin on the baseline."""

    steps: tuple[Step, ...]
    width: float


class Font:
    def __init__(self, name: str, font: TTFont) -> None:
        self.name = name
        self._cmap: dict[int, str] = font.getBestCmap() or {}
        self._glyphs = font.getGlyphSet()
        self._unit = float(font["head"].unitsPerEm)
        self._cache: dict[str, Glyph] = {}

    def has(self, text: Iterable[str]) -> bool:
        return all(ord(character) in self._cmap for character in text)

    def glyph(self, character: str) -> Glyph:
        if character not in self._cache:
            glyph = self._glyphs[self._cmap[ord(character)]]
            pen = _Pen(self._glyphs, 1 / self._unit)
            glyph.draw(pen)
            self._cache[character] = Glyph(tuple(pen.steps), glyph.width / self._unit)
        return self._cache[character]

    def width(self, text: str, size: float) -> float:
        return sum(self.glyph(character).width for character in text) * size


class _Pen(BasePen):  # type: ignore[misc]  # fontTools has no types
    """Pen that collects an outline; curves of the second order arrive as ones of the third."""

    def __init__(self, glyphs: Any, scale: float) -> None:
        super().__init__(glyphs)
        self.steps: list[Step] = []
        self._scale = scale

    def _add(self, letter: str, *points: Point) -> None:
        flat = tuple(value for x, y in points for value in (x * self._scale, -y * self._scale))
        self.steps.append((letter, flat))

    def _moveTo(self, pt: Point) -> None:  # noqa: N802
        self._add("M", pt)

    def _lineTo(self, pt: Point) -> None:  # noqa: N802
        self._add("L", pt)

    def _curveToOne(self, pt1: Point, pt2: Point, pt3: Point) -> None:  # noqa: N802
        self._add("C", pt1, pt2, pt3)

    def _closePath(self) -> None:  # noqa: N802
        self._add("Z")

    def _endPath(self) -> None:  # noqa: N802
        self._add("Z")


def find(text: str, given: Path | None = None, folders: Iterable[Path] = FOLDERS) -> Font:
    """Return a font with every character of `text`: from `given`, else the best of this machine.

    Raises CabinetError that gives the package to install: a sticker that lacks a character is never made.
    """
    characters = sorted(set(text))
    candidates = [given] if given is not None else _files(folders)
    for path in candidates:
        for font in _fonts(path):
            if font.has(characters):
                return font
    if given is not None:
        raise CabinetError(f"{given}: is no font, or lacks characters that the stickers need")
    raise CabinetError(
        "no font with the Chinese characters of the stickers on this machine: "
        "apt install fonts-noto-cjk (or fonts-wqy-microhei), or give --font FILE"
    )


def _files(folders: Iterable[Path]) -> list[Path]:
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    return sorted(found, key=lambda path: (_preference(path), path.name))


def _preference(path: Path) -> int:
    return next(
        (place for place, name in enumerate(PREFERRED_FONTS) if path.name.startswith(name)), len(PREFERRED_FONTS)
    )


def _fonts(path: Path) -> Iterator[Font]:
    """Yield the fonts in a file; in a collection for several countries, the simplified Chinese one first."""
    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            fonts = list(TTCollection(str(path), lazy=True))
        else:
            fonts = [TTFont(str(path), lazy=True)]
        named = [(str(font["name"].getDebugName(4) or path.name), font) for font in fonts]
    except (OSError, TTLibError, KeyError):
        return
    named.sort(key=lambda pair: (" SC" not in pair[0], "Mono" in pair[0]))
    for name, font in named:
        if "glyf" in font or "CFF " in font or "CFF2" in font:  # has outlines, not only pictures
            yield Font(name, font)
