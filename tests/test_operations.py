"""The documents for who builds and runs a cabinet: what they name is there, and the picture is that of the example."""

import re
from pathlib import Path

import pytest

from cabinet.config import load
from tools import draw_wiring

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("operations.md", "wiring.md", "hardware-checklist.md")]


def texts() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_every_unit_they_name_is_there():
    named = set(re.findall(r"\bcabinet-(?:guard|service|console|failsafe|backup|update|again)\b", texts()))
    units = {unit.stem.rstrip("@") for unit in (ROOT / "systemd").iterdir()}
    users = {
        line.split()[1] for line in (ROOT / "systemd/cabinet.sysusers").read_text().splitlines() if line[:1] == "u"
    }
    assert named - users - units == set()
    started = set(re.findall(r"systemctl (?:start|stop|restart|kill -s KILL) ((?:cabinet-[a-z]+ ?)+)", texts()))
    assert {name for names in started for name in names.split()} <= units


def test_every_tool_and_target_they_name_is_there():
    tools = set(re.findall(r"python (tools/\w+\.py)", texts()))
    assert tools
    assert [tool for tool in tools if not (ROOT / tool).exists()] == []
    targets = set(re.findall(r"^make ([a-z-]+)", texts(), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_key_of_the_configuration_they_name_is_there():
    from cabinet.config.reference import reference

    known = reference()
    named = set(re.findall(r"`(hardware|feed)\.(\w+)`", texts()))
    assert named
    assert [f"{section}.{key}" for section, key in named if f"`{key}`" not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_a_line_that_a_shell_can_read(page):
    """Blocks that are commands; the form and the table of file systems are not."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        first = block.split(None, 1)[0]
        if first in ("sudo", "cabinet", "make", "python", "systemctl"):
            for line in block.splitlines():
                assert re.match(r"(sudo|sudoedit|cabinet|make|python|systemctl|journalctl|echo) ", line), line


def test_picture_of_the_wiring_is_that_of_the_example():
    drawn = draw_wiring.drawn(load(draw_wiring.EXAMPLE))
    assert draw_wiring.PICTURE.read_text(encoding="utf-8") == drawn, "python tools/draw_wiring.py"


def test_picture_names_every_alert_line():
    config = load(draw_wiring.EXAMPLE)
    drawn = draw_wiring.drawn(config)
    assert all(f"outlet {outlet.number}, " in drawn for outlet in config.outlet)
