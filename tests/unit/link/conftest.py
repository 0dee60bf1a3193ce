"""A served guard for the tests of the link."""

import pytest

from cabinet_testing.served_guard import ServedGuard


@pytest.fixture
def guard(tmp_path):
    served = ServedGuard(tmp_path)
    yield served
    served.close()
