"""A served guard for the tests of the link."""

import pytest

from cabinet_testing.console_snapshots import snapshot
from cabinet_testing.fake_guard import FakeGuard


@pytest.fixture
def guard(tmp_path):
    guard = FakeGuard.showing(snapshot())
    with guard.serving(tmp_path / "guard.sock"):
        yield guard
