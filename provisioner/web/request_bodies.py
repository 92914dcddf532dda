"""What requests carry: JSON, forms and files, each with a limit."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel, ValidationError

from provisioner.web.problems import ProblemError, unusable

#: Bytes of JSON or of a form.
_LARGEST_TEXT: Final = 1024**2
#: Bytes of a pushed roster; also the most that one value in Redis may hold.
LARGEST_ROSTER: Final = 512 * 1024**2
#: Bytes of it that are kept in memory while it comes in.
_IN_MEMORY: Final = 8 * 1024**2
_FORM: Final = "application/x-www-form-urlencoded"

Body = TypeVar("Body", bound=BaseModel)


def _type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        413, f"The body is larger than {limit // 1024**2} MiB; nothing of it was kept.", code="too_large"
    )


async def limited(request: Request, limit: int, too_large: Exception) -> AsyncIterator[bytes]:
    """The body piece by piece. `too_large` is raised as soon as it is known to have more bytes than the limit."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large
        yield piece


async def _whole(request: Request) -> bytes:
    return b"".join([piece async for piece in limited(request, _LARGEST_TEXT, _too_large(_LARGEST_TEXT))])


def json_body(model: type[Body]) -> Callable[[Request], Coroutine[Any, Any, Body]]:
    """Reads a JSON object of some shape; an absent body is an empty object."""

    async def read(request: Request) -> Body:
        content = await _whole(request)
        if content and _type(request) != "application/json":
            raise ProblemError(
                415, "The body has to be JSON.", code="not_json", remedy="Send it with Content-Type: application/json."
            )
        request.state.content = content
        try:
            return model.model_validate_json(content or b"{}")
        except ValidationError as exc:
            # What was given is not repeated: it may be personal
            faults = [
                f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
                for one in exc.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise unusable("; ".join(faults)) from None

    return read


async def form(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, in their order.

    Raises:
        ProblemError: 413 too large, 415 no form.
    """
    if _type(request) != _FORM:
        raise ProblemError(415, "This takes a form of the page only.", code="no_form")
    return parse_qsl((await _whole(request)).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20_000)


async def file(request: Request) -> tuple[bytes, str]:
    """A file, and its digest as ``sha256:…``; while it comes in, little of it is in memory.

    Raises:
        ProblemError: 413 too large, 422 empty.
    """
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        async for piece in limited(request, LARGEST_ROSTER, _too_large(LARGEST_ROSTER)):
            digest.update(piece)
            if spool.tell() + len(piece) > _IN_MEMORY:
                await asyncio.to_thread(spool.write, piece)
            else:
                spool.write(piece)
        if spool.tell() == 0:
            raise unusable("The body is empty.", "Send the roster file as it is, as the body of the request.")
        spool.seek(0)
        return await asyncio.to_thread(spool.read), f"sha256:{digest.hexdigest()}"
