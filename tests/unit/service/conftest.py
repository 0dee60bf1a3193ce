"""Tests of the service are coroutines: each runs in an event loop of its own."""

from pathlib import Path

import pytest

from cabinet_testing.coroutine_tests import pytest_pyfunc_call
from cabinet_testing.service_harness import ServiceHarness

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def harness(tmp_path: Path) -> ServiceHarness:
    return ServiceHarness(tmp_path)
