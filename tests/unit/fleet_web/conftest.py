"""Tests of the fleet's pages are coroutines, each with a database of its own."""

from collections.abc import Iterator

import pytest

from cabinet import secret_hash
from cabinet_testing import fleet_postgres
from cabinet_testing.coroutine_tests import pytest_pyfunc_call
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.lacking import needs
from cabinet_testing.service_harness import QUICK

__all__ = ["pytest_pyfunc_call"]


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


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = QUICK.hash("nobody's")
    monkeypatch.setattr(secret_hash, "_dummy_hash", lambda: quick)
