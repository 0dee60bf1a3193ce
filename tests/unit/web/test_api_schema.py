"""The API against its own description: whatever is asked, no 5xx and no answer that is not described.

`API_EXAMPLES=2000 make fuzz-api` asks for longer.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from litestar import Litestar
from litestar.testing import TestClient

from cabinet.config.keys import Config
from cabinet.model import EndReason, Fault
from cabinet.web.reader import type_of
from cabinet.web.site import create_app
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page

Client = TestClient[Any]

EXAMPLES = int(os.environ.get("API_EXAMPLES", "25"))  # an operation
OPERATIONS = [
    "usage",
    "usage/export",
    "usage/closings",
    "usage/heads",
    "outlets",
    "cabinet",
    "readings",
    "sessions",
    "today",
]


@pytest.fixture(scope="module")
def app(config: Config) -> Iterator[Litestar]:
    service = FakeService()
    service.usage_records = [fake_service.usage_record(number, fault=Fault.SHORT_CIRCUIT) for number in range(1, 4)]
    service.session_views = {
        "s1": (1, fake_service.session("s1")),
        "s2": (2, fake_service.settled("s2", EndReason.TRIPPED, fault=Fault.OUTLET_HOT)),
    }
    app = create_app(service, config)
    with TestClient(app):
        yield app


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("token", ["api-token", "wrong", "no-scope"])
def test_every_answer_is_as_described(app: Litestar, path: str, token: str) -> None:
    app.state.site.accounts.bearers["no-scope"] = set()
    schema = schemathesis.openapi.from_asgi("/api/schema", app)
    operation = schema[f"/api/v1/{path}"]["GET"]

    @settings(
        max_examples=EXAMPLES if token == "api-token" else 3,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 500
        if token != "api-token":
            assert answer.status_code in (401, 403)
        case.validate_response(answer)

    ask()


def test_every_operation_is_asked(app: Litestar) -> None:
    assert set(app.openapi_schema.to_schema()["paths"]) == {f"/api/v1/{path}" for path in OPERATIONS}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_describes_every_operation_and_needs_nothing_from_elsewhere(client: Client, language: str) -> None:
    client.cookies.set("language", language)
    answer = client.get("/api/docs")
    shown = page(answer)
    assert shown.mistakes == []
    for path in OPERATIONS:
        assert f"GET /api/v1/{path}" in shown.text
    loaded = [each.get("src", "") for each in shown.all("script")] + [each["href"] for each in shown.all("link")]
    assert [address for address in loaded if not address.startswith("/static/")] == []
    assert shown.all("dt", id="wrong_token"), "where the type of a problem leads"


def test_a_problem_leads_to_what_the_page_says_of_it(client: Client) -> None:
    problem = client.get("/api/v1/usage").json()
    assert list(problem) == ["type", "title", "status", "detail", "code"]
    assert (problem["type"], problem["title"], problem["status"]) == ("/api/docs#wrong_token", "Unauthorized", 401)
    assert client.get("/api/v1/none").json()["type"] == "about:blank"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 40}, "integer 1…40"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/OutletView"}}, "OutletView[]"),
        ({"oneOf": [{"type": "string", "enum": ["zh", "en"]}, {"type": "null"}]}, "zh | en or null"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "string", "format": "date"}, "string (date)"),
        ({}, ""),
    ],
)
def test_types_are_said_in_few_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema) == words
