"""One browser for each module of these tests, and one cabinet of real processes where it asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cabinet_testing.lacking import needs
from cabinet_testing.real_cabinet import RealCabinet, running
from tools import get_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"

try:
    from cabinet_testing.browser_visitors import Visitors, launched
except ImportError as missing:
    lacking = f"tests in a browser are left out: {missing}"  # playwright is not made for every machine
    collect_ignore_glob = ["test_*.py"]
else:
    lacking = ""


def pytest_report_header() -> str:
    return lacking


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.slow)
            if "cabinet" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.whole_cabinet)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """No longer than the module: while it is open an event loop runs, beside which other tests cannot run theirs."""
    needs(get_browser.why_missing())
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def axe() -> str:
    needs(None if AXE.exists() else "axe-core is not there: python tools/bundle.py --force")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cabinet(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCabinet]:
    with running(tmp_path_factory.mktemp("cabinet"), gentle=True) as started:
        yield started


@pytest.fixture
def visitors(browser: Browser, cabinet: RealCabinet) -> Iterator[Visitors]:
    """People with browsers of their own; any error on a console of theirs fails the test."""
    visitors = Visitors(browser, cabinet.url)
    yield visitors
    visitors.leave()
