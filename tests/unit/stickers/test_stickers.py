"""Stickers as they leave the printer: the sheet is rendered to pixels, and the code in them is read."""

import re
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pypdfium2
import pytest
import zxingcpp

from cabinet.commands import stickers
from cabinet.config import check
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.main import main
from cabinet.stickers import font as fonts
from cabinet.stickers.drawing import A4_MM, Drawing, pdf
from cabinet.stickers.font import Font
from cabinet.stickers.sticker import DEFAULT_MM, MAX_MM, MIN_MM, draw, sheets, sticker_text

DPI = 150  # far below what any printer does


@pytest.fixture(scope="session")
def config() -> Config:
    return check.parse((resources.files("cabinet") / "examples" / "demo.toml").read_text(encoding="utf-8"))


def everything(config: Config) -> str:
    return "".join(sticker_text(config.site, outlet).everything() for outlet in config.outlet) + " ·"


@pytest.fixture(scope="session")
def font(config: Config) -> Font:
    try:
        return fonts.find(everything(config))
    except CabinetError as error:
        pytest.skip(str(error))


def read_codes(document: bytes) -> list[list[tuple[str, float]]]:
    """Return the text of each code of each page, and its distance from the top of the page in mm."""
    pages = []
    for sheet in pypdfium2.PdfDocument(document):
        bitmap = sheet.render(scale=DPI / 72, grayscale=True)
        rows = memoryview(bytes(bitmap.buffer))
        packed = b"".join(rows[y * bitmap.stride :][: bitmap.width] for y in range(bitmap.height))
        image = memoryview(packed).cast("B", (bitmap.height, bitmap.width))
        found = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
        pages.append([(code.text, code.position.top_left.y / DPI * 25.4) for code in found])
    return pages


def test_every_printed_code_opens_its_outlet(config: Config, font: Font) -> None:
    drawings = [draw(sticker_text(config.site, outlet), font, *DEFAULT_MM) for outlet in config.outlet]
    (codes,) = read_codes(pdf(sheets(drawings), "stickers"))
    assert sorted(text for text, _ in codes) == sorted(
        f"{config.site.public_url}/s/{outlet.code}" for outlet in config.outlet
    )


@pytest.mark.parametrize("label", [MIN_MM, (60.0, 120.0), (190.0, 40.0), (105.0, 74.0), MAX_MM])
def test_a_label_of_any_size_can_be_read_with_the_longest_address(
    config: Config, font: Font, label: tuple[float, float]
) -> None:
    site = msgspec.structs.replace(config.site, public_url="https://charging.sunshine-garden.example.com:8443")
    outlet = msgspec.structs.replace(config.outlet[0], code="ABCDEFGH2345")
    ((code,),) = read_codes(pdf(sheets([draw(sticker_text(site, outlet), font, *label)]), "one"))
    assert code[0] == "https://charging.sunshine-garden.example.com:8443/s/ABCDEFGH2345"


@pytest.mark.parametrize("label", [MIN_MM, DEFAULT_MM, (60.0, 120.0), MAX_MM])
def test_nothing_is_drawn_over_the_edge_however_long_the_names(
    config: Config, font: Font, label: tuple[float, float]
) -> None:
    site = msgspec.structs.replace(
        config.site, name="示范小区充电柜" * 8, name_en="Demo Compound Charging Cabinet " * 2,
        complaint_phone="000-0000-0000-000000000000000000000",
    )  # fmt: skip
    drawing = draw(sticker_text(site, config.outlet[-1]), font, *label)
    xs, ys = zip(*_points(drawing), strict=True)
    assert min(xs) >= -0.01
    assert min(ys) >= -0.01
    assert max(xs) <= label[0] + 0.01
    assert max(ys) <= label[1] + 0.01


def _points(drawing: Drawing) -> list[tuple[float, float]]:
    return [
        (values[place], values[place + 1])
        for shape in drawing.shapes
        for _, values in shape.steps
        for place in range(0, len(values), 2)
    ]


def test_a_sticker_says_in_both_languages_where_it_leads_and_whom_to_call(config: Config) -> None:
    said = sticker_text(config.site, config.outlet[2])
    assert said.domain == "127.0.0.1:8080"
    assert said.outlet == ("号插座", "Outlet")
    assert said.phone == (f"服务电话 {config.site.complaint_phone}", f"Service {config.site.complaint_phone}")
    assert said.site == (config.site.name, config.site.name_en)
    assert said.typed == "编号 Code C5T4"


def test_the_default_label_is_ten_times_on_a_page_and_all_lie_within_it() -> None:
    pages = sheets([Drawing(*DEFAULT_MM) for _ in range(23)])
    assert [len(page) for page in pages] == [10, 10, 3]
    for x, y, drawing in pages[0]:
        assert x >= 5
        assert x + drawing.width <= A4_MM[0] - 5
        assert y >= 5
        assert y + drawing.height <= A4_MM[1] - 5


def test_the_command_writes_a_sheet_and_a_picture_each(
    tmp_path: Path, font: Font, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cabinet.toml").write_text((resources.files("cabinet") / "examples" / "demo.toml").read_text())
    out = tmp_path / "out"
    words_of_it = ["stickers", "--config", str(tmp_path / "cabinet.toml"), "--out", str(out), "--outlets", "3,5-6"]
    assert main(words_of_it) == 0
    assert capsys.readouterr().out.startswith("3 stickers for http://127.0.0.1:8080")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["outlet-03-C5T4.svg", "outlet-05-E2W7.svg", "outlet-06-F9H3.svg", "stickers.pdf"]
    picture = ElementTree.parse(out / "outlet-03-C5T4.svg").getroot()
    assert (picture.get("width"), picture.get("height")) == ("95mm", "55mm")
    assert not [element for element in picture.iter() if element.tag.endswith(("text", "image"))], "outlines only"
    assert len(read_codes((out / "stickers.pdf").read_bytes())[0]) == 3


@pytest.mark.parametrize(
    ("given", "numbers"), [("3", [3]), ("3,5-7", [3, 5, 6, 7]), (" 1, 1 ,2", [1, 2]), (None, list(range(1, 11)))]
)
def test_outlets_are_chosen_by_number_and_range(config: Config, given: str | None, numbers: list[int]) -> None:
    assert [outlet.number for outlet in stickers.chosen(config, given)] == numbers


@pytest.mark.parametrize("given", ["", "0", "11", "x", "3-", "5-3", "1-99999", "-3", "3;4"])
def test_outlets_that_are_none_are_said(config: Config, given: str) -> None:
    with pytest.raises(CabinetError, match="--outlets"):
        stickers.chosen(config, given)


@pytest.mark.parametrize("given", ["95", "95x", "59x55", "95x39", "191x55", "95x278", "ax b", "95X55", "1000x1000"])
def test_a_size_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=re.escape(given)):
        stickers.size(given)


def test_without_a_chinese_font_nothing_is_half_printed(tmp_path: Path, config: Config) -> None:
    (tmp_path / "not-a-font.ttf").write_bytes(b"nothing")
    with pytest.raises(CabinetError, match="apt install fonts-noto-cjk"):
        fonts.find(everything(config), folders=[tmp_path])
    with pytest.raises(CabinetError, match=r"not-a-font\.ttf: is no font"):
        stickers.write(config, list(config.outlet), DEFAULT_MM, tmp_path / "out", tmp_path / "not-a-font.ttf")
    assert not (tmp_path / "out").exists()


def test_a_font_that_lacks_one_character_is_not_taken(font: Font, tmp_path: Path) -> None:
    files = fonts._files(fonts.FOLDERS)
    file = next(path for path in files if any(each.name == font.name for each in fonts._fonts(path)))
    (tmp_path / file.name).symlink_to(file)  # the only one here: others take seconds to read
    assert fonts.find("插座", folders=[tmp_path]).name == font.name
    with pytest.raises(CabinetError):
        fonts.find("插座\ue000", folders=[tmp_path])
