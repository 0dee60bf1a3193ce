"""Forms with a file, which `auth.check_form` does not read: the same check of the form key."""

from typing import cast

from litestar.datastructures import UploadFile
from litestar.exceptions import ClientException, HTTPException

from cabinet.errors import Refused
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.property.access import actor

MAX_UPLOAD = 4 * 1024 * 1024 + 64 * 1024
"""Bytes of a whole form including its file."""

MAX_FORM = 64 * 1024  # bytes of a form without a file


async def check_form(request: PageRequest) -> None:
    """Check a form like `auth.check_form`. If the form has files, `content` gives the handler the first one."""
    if request.method in auth.SAFE_METHODS:
        return
    if request.content_type[0] != "multipart/form-data":
        if len(await request.body()) > MAX_FORM:
            raise HTTPException(status_code=413)
        await auth.check_form(request)
        return
    if not request.content_type[1].get("boundary"):
        raise Refused("bad_request")
    await actor(request, "look")  # only staff may upload megabytes
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


def content(request: PageRequest) -> bytes:
    """Return the uploaded file; empty if there was none."""
    return cast(bytes, request.state.get("content", b""))
