import asyncio
from collections.abc import Iterator

import pytest

from cabinet_testing import fleet_postgres, plain_broker
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.lacking import needs
from cabinet_testing.payment_scene import payment_scene


@pytest.fixture(scope="session")
def postgres() -> Iterator[FleetPostgres]:
    needs(fleet_postgres.missing())
    with fleet_postgres.server() as server:
        yield server


@pytest.fixture
def url(postgres: FleetPostgres) -> Iterator[str]:
    fresh = postgres.fresh()
    yield fresh
    postgres.drop(fresh)


@pytest.fixture
def run():
    return asyncio.run


@pytest.fixture
def on_scene(url, run, tmp_path):
    """Run `body(scene)`; afterwards books, payments and platforms agree."""

    def on(body):
        async def whole():
            async with payment_scene(url, tmp_path) as scene:
                await body(scene)
                assert await scene.problems() == []

        run(whole())

    return on


@pytest.fixture
def broker() -> Iterator[plain_broker.PlainBroker]:
    needs(plain_broker.missing())
    with plain_broker.running() as running:
        yield running
