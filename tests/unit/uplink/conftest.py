"""A broker for each file."""

from collections.abc import Iterator

import pytest

from cabinet_testing.fleet_broker import SKIP_REASON, FleetBroker, running_broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBroker]:
    if SKIP_REASON:
        pytest.skip(SKIP_REASON)
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
