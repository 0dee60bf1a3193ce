"""One cabinet of real processes for all tests of a module that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cabinet_testing.real_cabinet import RealCabinet, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.whole_cabinet)


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCabinet]:
    with running(tmp_path_factory.mktemp("cabinet"), gentle=True) as started:
        yield started
