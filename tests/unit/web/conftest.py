"""The web application over a service of values set by hand.

Making the application takes longer than most tests, so there is one of it; the service behind it and the cookies of
the browser begin anew for each test.
"""

from collections.abc import Iterator
from functools import partial
from importlib import resources
from types import CodeType
from typing import Any

import pytest
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from litestar.testing import TestClient

from cabinet.config import check
from cabinet.config.keys import Config
from cabinet.web import pages
from cabinet.web.site import create_app
from cabinet_testing.fake_service import FakeService


class CompiledTemplates(BytecodeCache):
    """Compiled templates in memory, by name and content: many tests make an application of their own."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(autouse=True, scope="session")
def compiled_templates() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "Environment", partial(Environment, bytecode_cache=CompiledTemplates()))
        yield


@pytest.fixture(scope="session")
def config() -> Config:
    return check.parse((resources.files("cabinet") / "examples" / "demo.toml").read_text())


@pytest.fixture(scope="session")
def long_lived(config: Config) -> Iterator[tuple[FakeService, TestClient[Any]]]:
    service = FakeService()
    with TestClient(create_app(service, config), raise_server_exceptions=False) as client:
        client.follow_redirects = False
        client.headers["accept-language"] = "zh-CN,zh;q=0.9"
        yield service, client


@pytest.fixture
def service(long_lived: tuple[FakeService, TestClient[Any]]) -> FakeService:
    service, _ = long_lived
    service.begin_anew()
    return service


@pytest.fixture
def client(long_lived: tuple[FakeService, TestClient[Any]], service: FakeService) -> TestClient[Any]:
    """A browser that nobody is signed in with; it asks for Chinese and follows no redirect by itself."""
    _, client = long_lived
    client.cookies.clear()
    return client


@pytest.fixture
def resident(client: TestClient[Any]) -> TestClient[Any]:
    """The same, with resident 1 signed in."""
    client.cookies.set("resident", "resident-1")
    return client


@pytest.fixture
def staff(client: TestClient[Any]) -> TestClient[Any]:
    """The same, with the property company's manager signed in."""
    client.cookies.set("staff", "staff-1")
    return client
