"""Page of the API's description: rendered by the server from the OpenAPI document, without external resources."""

import functools
from typing import Any, NamedTuple

from litestar import Router, get
from litestar.response import Response

from cabinet.service.ports import SCOPES
from cabinet.texts import Texts
from cabinet.web import auth
from cabinet.web.api import CODES
from cabinet.web.context import PageRequest, language_of
from cabinet.web.errors import READER, STATUS_OF_REFUSAL
from cabinet.web.pages import Pages

texts = functools.cache(functools.partial(Texts, "api"))


class Field(NamedTuple):
    """Parameter of an operation, or field of an object."""

    name: str
    type: str
    needed: bool
    what: str


class DocumentedResponse(NamedTuple):
    status: str
    what: str
    forms: list[str]  # media types
    type: str


class Operation(NamedTuple):
    method: str
    path: str
    summary: str
    what: str
    parameters: list[Field]
    answers: list[DocumentedResponse]


class Object(NamedTuple):
    name: str
    what: str
    fields: list[Field]


@get(READER)
async def reader(request: PageRequest) -> Response[Any]:
    document = request.app.openapi_schema.to_schema()
    return Pages.of(request).page(
        request,
        "api/reader.html",
        a=texts(language_of(request)),
        operations=operations(document),
        objects=objects(document),
        problems=[(code, STATUS_OF_REFUSAL[code]) for code in CODES],
        scopes=SCOPES,
    )


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(
            method.upper(),
            path,
            operation.get("summary", ""),
            operation.get("description", ""),
            [_parameter(each) for each in operation.get("parameters", [])],
            [_answer(status, each) for status, each in sorted(operation["responses"].items())],
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def objects(document: dict[str, Any]) -> list[Object]:
    schemas = document.get("components", {}).get("schemas", {})
    return [
        Object(
            name,
            schema.get("description", ""),
            [
                Field(field, type_of(kind), field in schema.get("required", []), kind.get("description", ""))
                for field, kind in schema.get("properties", {}).items()
            ],
        )
        for name, schema in sorted(schemas.items())
        if "properties" in schema
    ]


def _parameter(parameter: dict[str, Any]) -> Field:
    schema = parameter.get("schema", {})
    return Field(
        parameter["name"],
        type_of(schema),
        bool(parameter.get("required")),
        parameter.get("description") or schema.get("description", ""),
    )


def _answer(status: str, answer: dict[str, Any]) -> DocumentedResponse:
    content = answer.get("content", {})
    kinds = [type_of(each.get("schema", {})) for each in content.values()]
    return DocumentedResponse(status, answer.get("description", ""), list(content), kinds[0] if kinds else "")


def type_of(schema: dict[str, Any]) -> str:
    """Return a short form of a schema: `integer 0…40`, `OutletView[]`, `zh | en`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(type_of(each) for each in schema[several])
    kind = schema.get("type", "")
    if kind == "array":
        return f"{type_of(schema.get('items', {}))}[]"
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "format" in schema:
        words += f" ({schema['format']})"
    if "minimum" in schema or "maximum" in schema:
        words += f" {schema.get('minimum', '')}…{schema.get('maximum', '')}"
    return words


router = Router("/", route_handlers=[reader], before_request=auth.check_form, include_in_schema=False)
