"""The simulator's page, which only a simulated cabinet has and the walk over every page does not meet."""

import pytest

from cabinet.texts import LANGUAGES
from cabinet_testing.browser_visitors import PHONE, Visitors
from cabinet_testing.page_examination import examined
from cabinet_testing.real_cabinet import RealCabinet


@pytest.fixture(scope="module", autouse=True)
def busy(cabinet: RealCabinet) -> None:
    """Something of everything to draw and to tell."""
    cabinet.plug(4, "lithium-48v", 0.3)
    for fault in ("2 hot", "5 overload --amps 9", "6 nack --chip thermometer", "7 welded", "8 short", "all smoke"):
        cabinet.sim("fault", *fault.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_simulator_page_keeps_what_every_page_promises(visitors: Visitors, axe: str, language: str):
    visitor = visitors(language, PHONE)
    visitor.page.add_init_script(script=axe)
    visitor.open("/sim")
    broken = {promise: wrong for promise, wrong in examined(visitor).items() if wrong}
    assert broken == {}
