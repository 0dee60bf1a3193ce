"""The API for programs: tokens, paging, forms of the answer, and problems as RFC 9457 describes them."""

import csv
import io
import json
from typing import Any

import httpx
import msgspec
import openpyxl
import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.model import Snapshot
from cabinet.records import UsageHead
from cabinet.reports import usage_csv, usage_xlsx
from cabinet.service.ports import SCOPES
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService

Client = TestClient[Any]

TOKEN = {"authorization": "Bearer api-token"}


@pytest.fixture
def log(service: FakeService) -> FakeService:
    service.usage_records = [fake_service.usage_record(number) for number in range(1, 8)]
    return service


def usage(client: Client, **parameters: Any) -> httpx.Response:
    return client.get("/api/v1/usage", params=parameters, headers=TOKEN)


def numbers(answer: httpx.Response) -> list[int]:
    return [json.loads(line)["number"] for line in answer.text.splitlines()]


def test_records_come_as_json_lines_with_every_field_as_stored(client: Client, log: FakeService) -> None:
    answer = usage(client, limit=1)
    assert answer.headers["content-type"] == "application/x-ndjson"
    record = json.loads(answer.text)
    assert record["energy_mwh"] == 352_900
    assert record["started"] == {"unix_ms": fake_service.STARTED.unix_ms, "trusted": True}
    assert record["lines"][0]["kind"] == "time"
    assert record["end_reason"] == "full"
    assert record["record_hash"] == f"{1:064x}"


def test_following_next_reads_every_record_once(client: Client, log: FakeService) -> None:
    address: str | None = "/api/v1/usage?limit=3"
    pages = []
    while address:
        answer = client.get(address, headers=TOKEN)
        pages.append(numbers(answer))
        address = answer.links["next"]["url"] if "next" in answer.links else None
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


def test_the_cursor_stays_where_it_is_until_there_is_more(client: Client, log: FakeService) -> None:
    end = usage(client, after=7)
    assert (end.status_code, end.text, end.headers["x-next-after"]) == (200, "", "7")
    assert "next" not in end.links
    log.usage_records.append(fake_service.usage_record(8))
    assert numbers(usage(client, after=end.headers["x-next-after"])) == [8]


def test_days_are_the_sites_and_the_last_one_is_included(client: Client, log: FakeService) -> None:
    usage(client, **{"from": "2026-11-01", "to": "2026-11-30", "outlet": 3})
    wanted = log.wanted
    assert (wanted.from_unix_ms, wanted.to_unix_ms) == (1_793_462_400_000, 1_796_054_400_000)
    assert wanted.outlet == 3


def test_next_keeps_what_was_asked_for(client: Client, log: FakeService) -> None:
    link = usage(client, limit=2, **{"from": "2026-11-01", "outlet": 3}).links["next"]["url"]
    assert link.endswith("?after=2&limit=2&format=jsonl&from=2026-11-01&outlet=3")


@pytest.mark.parametrize("parameter", [{"from": "yesterday"}, {"outlet": 41}, {"to": "2026-13-01"}])
def test_filter_that_is_none_is_told(client: Client, log: FakeService, parameter: dict[str, Any]) -> None:
    answer = usage(client, **parameter)
    assert answer.status_code == 400
    assert next(iter(parameter)) in answer.json()["detail"]


def test_page_that_has_not_changed_is_not_sent_again(client: Client, log: FakeService) -> None:
    first = usage(client)
    again = client.get("/api/v1/usage", headers={**TOKEN, "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-next-after"] == "7"
    log.usage_records.append(fake_service.usage_record(8))
    assert client.get("/api/v1/usage", headers={**TOKEN, "if-none-match": first.headers["etag"]}).status_code == 200


def test_answers_to_programs_are_compressed_and_pages_are_not(client: Client, log: FakeService) -> None:
    assert usage(client).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get("/", headers={"accept-encoding": "gzip"}).headers


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_whole_log_is_one_file_whatever_its_length(client: Client, log: FakeService, form: str) -> None:
    log.usage_records = [fake_service.usage_record(number) for number in range(1, 1001)]
    answer = client.get("/api/v1/usage/export", params={"format": form, "lang": "en"}, headers=TOKEN)
    assert answer.headers["content-disposition"] == f'attachment; filename="usage-DEMO-1.{form}"'
    assert len(answer.text.splitlines()) == 1000 + (form == "csv")
    assert log.wanted.after == 1000


def test_spreadsheet_has_numbers_as_numbers(client: Client, log: FakeService) -> None:
    log.usage_records[0] = fake_service.usage_record(1, tariff_version="=1+1")
    answer = client.get("/api/v1/usage/export", params={"format": "xlsx", "lang": "en"}, headers=TOKEN)
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    rows = list(sheet.iter_rows(values_only=True))
    titles = list(rows[0])
    assert len(rows) == 8
    assert rows[1][titles.index("Electricity (yuan)")] == 0.11
    assert sheet.cell(2, titles.index("Tariff") + 1).data_type == "s", "what looks like a formula is text"


def test_spreadsheet_that_would_be_too_long_is_refused(
    client: Client, log: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_xlsx, "MAX_ROWS", 5)
    answer = client.get("/api/v1/usage/export", params={"format": "xlsx"}, headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_records")


def test_closings_come_with_the_key_they_are_signed_with(client: Client, log: FakeService) -> None:
    assert client.get("/api/v1/usage/closings", headers=TOKEN).json() == {"key": "key", "closings": []}


def test_heads_come_for_the_days_asked_for(client: Client, log: FakeService) -> None:
    log.day_heads = [UsageHead("2026-11-24", "DEMO-1", 7, "7" * 64)]
    answer = client.get("/api/v1/usage/heads", params={"from": "2026-11-24", "to": "2026-11-24"}, headers=TOKEN)
    assert answer.json() == {
        "heads": [{"day": "2026-11-24", "site_id": "DEMO-1", "number": 7, "record_hash": "7" * 64}]
    }
    assert (log.wanted.from_unix_ms, log.wanted.to_unix_ms) == (1_795_449_600_000, 1_795_536_000_000)


@pytest.mark.parametrize(("lang", "first", "reason"), [("zh", "序号", "已充满"), ("en", "Number", "Fully charged")])
def test_csv_opens_in_a_spreadsheet_in_the_language_asked_for(
    client: Client, log: FakeService, lang: str, first: str, reason: str
) -> None:
    answer = usage(client, format="csv", lang=lang)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len(rows) == 7
    assert rows[0][first] == "1"
    assert reason in rows[0].values()
    assert "2026-11-24 14:00:00+08:00" in rows[0].values()


def test_next_keeps_form_and_language(client: Client, log: FakeService) -> None:
    address = usage(client, format="csv", lang="en", limit=2).links["next"]["url"]
    assert address == "http://testserver.local/api/v1/usage?after=2&limit=2&format=csv&lang=en"


def test_next_is_at_the_public_address_for_who_came_by_it(client: Client, log: FakeService) -> None:
    answer = client.get("/api/v1/usage?limit=2", headers={**TOKEN, "host": "127.0.0.1:8080"})
    assert answer.links["next"]["url"].startswith("http://127.0.0.1:8080/api/v1/usage?after=2")


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic api-token"}, {"authorization": "Bearer"},
     {"authorization": "Bearer " + "x" * 5000}, {"cookie": "staff=staff-1; resident=resident-1"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/v1/usage", "/api/v1/outlets", "/api/v1/usage?limit=x"])
def test_without_a_valid_token_there_is_nothing(client: Client, headers: dict[str, str], path: str) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="cabinet"'
    assert answer.json()["code"] == "wrong_token"
    assert answer.json()["status"] == 401


def test_a_token_for_something_else_does_not_read_the_log(client: Client, service: FakeService) -> None:
    service.bearers["api-token"] = {"other"}
    answer = usage(client)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    "parameters",
    [{"after": -1}, {"after": "x"}, {"after": 2**60}, {"limit": 0}, {"limit": 1001}, {"limit": ""}, {"format": "xml"},
     {"lang": "fr"}],
)  # fmt: skip
def test_a_parameter_that_does_not_fit_is_named(client: Client, log: FakeService, parameters: dict[str, Any]) -> None:
    answer = usage(client, **parameters)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    assert next(iter(parameters)) in problem["detail"]


def test_outlets_are_those_of_the_page(client: Client) -> None:
    answer = client.get("/api/v1/outlets", headers=TOKEN)
    tripped = next(outlet for outlet in answer.json() if outlet["number"] == 4)
    assert tripped["condition"] == "needs_service"
    assert tripped["fault"] == "short_circuit"
    assert tripped["power_mw"] is None


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/v1/none", 404), ("POST", "/api/v1/usage", 405)])
def test_other_errors_are_problems_too(client: Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, headers=TOKEN)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_the_description_is_served_from_here_and_names_what_there_is(client: Client) -> None:
    answer = client.get("/api/schema")
    schema = answer.json()
    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/usage" in schema["paths"]
    operation = schema["paths"]["/api/v1/usage"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "after", "limit", "format", "lang", "from", "to", "outlet",
    ]  # fmt: skip
    assert set(operation["responses"]) == {"200", "304", "400", "401", "403", "500", "503"}
    assert operation["security"] == [{"token": []}]
    assert "://" not in answer.text.replace(schema["info"]["title"], "")


@pytest.mark.parametrize(
    ("path", "scope"),
    [("usage", "usage:read"), ("usage/export", "usage:read"), ("usage/closings", "usage:read"),
     ("usage/heads", "usage:read"), ("outlets", "cabinet:read"), ("cabinet", "cabinet:read"),
     ("readings", "cabinet:read"), ("sessions", "sessions:read"), ("today", "sessions:read")],
)  # fmt: skip
def test_each_scope_opens_its_own_and_nothing_else(client: Client, path: str, scope: str) -> None:
    answers = {
        each: client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {each}-token"}).status_code
        for each in SCOPES
    }
    assert answers == {each: 200 if each == scope else 403 for each in SCOPES}


def test_readings_are_the_guards_own_snapshot(client: Client, service: FakeService) -> None:
    answer = client.get("/api/v1/readings", headers=TOKEN)
    assert msgspec.json.decode(answer.content, type=Snapshot) == service.snapshot()
    service.refusals["snapshot"] = Refused("guard_unreachable")
    gone = client.get("/api/v1/readings", headers=TOKEN)
    assert (gone.status_code, gone.json()["code"], gone.headers["retry-after"]) == (503, "guard_unreachable", "30")


def test_health_is_open_to_monitoring_and_says_what_hinders(client: Client, service: FakeService) -> None:
    well = client.get("/healthz")
    assert (well.status_code, well.json()) == (200, {"guard_reachable": True, "accepting": None})
    service.hindrance = "storage_full"
    assert (client.get("/healthz").status_code, client.get("/healthz").json()["accepting"]) == (503, "storage_full")
    service.hindrance, service.guard_answers = None, False
    assert client.get("/healthz").status_code == 503


def test_a_problem_of_a_bug_keeps_its_insides(
    client: Client, log: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: object) -> bytes:
        raise ValueError("secret insides")

    monkeypatch.setattr(usage_csv, "json_line", broken)
    answer = usage(client)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
