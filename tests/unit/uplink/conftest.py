"""A broker for each file."""

from collections.abc import Iterator

import pytest

from cabinet_testing.fleet_broker import SKIP_REASON, FleetBroker, running_broker
from cabinet_testing.lacking import needs


@pytest.fixture
def broker_installed() -> None:
    needs(SKIP_REASON)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBroker]:
    needs(SKIP_REASON)
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
