"""Forms with a file in them, which `auth.check_form` does not read: the same check of their key."""

from typing import cast

from litestar.datastructures import UploadFile
from litestar.exceptions import ClientException, HTTPException

from cabinet.errors import Refused
from cabinet.web import auth
from cabinet.web.context import Visit

LARGEST_UPLOAD = 4 * 1024 * 1024 + 64 * 1024
"""Bytes of a whole form with its file."""

LARGEST_FORM = 64 * 1024  # of one without


async def check_form(request: Visit) -> None:
    """As `auth.check_form`; of a form with files the first one is what `content` gives the handler."""
    if request.method in auth.SAFE_METHODS:
        return
    if request.content_type[0] != "multipart/form-data":
        if len(await request.body()) > LARGEST_FORM:
            raise HTTPException(status_code=413)
        await auth.check_form(request)
        return
    try:
        parts = list((await request.form()).multi_items())
    except ClientException:
        raise
    except ValueError as error:
        raise Refused("bad_request") from error
    fields: list[tuple[str, str]] = []
    content = b""
    for name, part in parts[: auth.MAX_FIELDS]:
        if isinstance(part, UploadFile):
            content = content or await part.read()
        else:
            fields.append((name, str(part)))
    request.state["form"] = auth.cleaned(fields)
    request.state["content"] = content
    auth.check_key(request)


def content(request: Visit) -> bytes:
    """The uploaded file; empty where there was none."""
    return cast(bytes, request.state.get("content", b""))
