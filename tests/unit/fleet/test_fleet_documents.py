"""Agreement of docs/fleet.md and docs/fleet-config.md with the program."""

import re
from pathlib import Path

from cabinet.config.reference import reference
from cabinet.main import COMMANDS as CABINET_COMMANDS
from fleet import config
from fleet.main import COMMANDS

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "fleet.md").read_text(encoding="utf-8")


def test_reference_page_of_the_fleet_is_the_generated_one():
    page = (DOCS / "fleet-config.md").read_text(encoding="utf-8")
    assert page == reference(config.FleetConfig, config.REFERENCE_HEAD)  # fleet check --reference


def test_configuration_in_the_guide_is_a_good_one():
    [text] = [block for block in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL) if "[database]" in block]
    found = config.parse(text)
    assert (found.broker.public_host, found.web.public_url) == ("broker.example.org", "https://charge.example.org")


def test_commands_in_the_guide_exist():
    blocks = GUIDE.split("```")[1::2]
    named = {name for block in blocks for name in re.findall(r"^fleet ([a-z]+)", block, re.MULTILINE)}
    named |= set(re.findall(r"`fleet ([a-z]+)", GUIDE))
    assert {"cabinet", "broker", "migrate", "tariff"} <= named <= set(COMMANDS)
    assert set(re.findall(r"\bcabinet ([a-z]+) enrol", GUIDE)) <= set(CABINET_COMMANDS)
