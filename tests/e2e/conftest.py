"""One cabinet of real processes for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.e2e.processes import Cabinet, running


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cabinet]:
    with running(tmp_path_factory.mktemp("cabinet")) as started:
        yield started
