"""What goes wrong, as RFC 9457 writes it for programs, and as a page for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from provisioner.errors import ConfigurationError, ProvisionerError, StoreError, StoreRefusedError, UsageError
from provisioner.logs import clean, get_logger
from provisioner.web.rendering import render
from provisioner.web.wording import for_people, places_after

log = get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds after which a request that found no Redis is worth another try.
_RETRY_AFTER: Final = "5"
#: Where people look with a browser is a page; what begins so is for programs.
_PROGRAMS: Final = ("/api/", "/scim/", "/webhooks/", "/healthz", "/readyz", "/metrics")


class ProblemError(Exception):
    """A request that cannot be carried out, with what to do about it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "request",
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.status, self.detail, self.code, self.remedy = status, detail, code, remedy
        self.headers, self.more = dict(headers or {}), dict(more or {})
        super().__init__(detail)


def problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    """An error for programs; `more` are further members, such as `code` and `remedy`."""
    known = {name: value for name, value in more.items() if value is not None}
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, **known}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


def not_there(what: str, remedy: str | None = None) -> ProblemError:
    """404."""
    return ProblemError(404, what, code="not_found", remedy=remedy)


def unusable(detail: str, remedy: str | None = None, *, code: str = "invalid") -> ProblemError:
    """422."""
    return ProblemError(422, detail, code=code, remedy=remedy)


def problem_of(error: ProvisionerError) -> ProblemError:
    """One of our errors as an answer."""
    detail, remedy = clean(error.message), clean(error.remedy) if error.remedy else None
    if isinstance(error, StoreError):
        state = error.state if isinstance(error, StoreRefusedError) else "does not answer"
        return ProblemError(
            503,
            f"Redis {state}, so nothing was done.",
            code=error.code,
            remedy="Try again soon; the log of this process says why.",
            headers={"Retry-After": _RETRY_AFTER},
        )
    if isinstance(error, UsageError) and not isinstance(error, ConfigurationError):
        status = 404 if error.message.startswith("There is no") else 422
        return ProblemError(status, detail, code="not_found" if status == 404 else error.code, remedy=remedy)
    return ProblemError(500, detail, code=error.code, remedy=remedy)


#: Notes on a request who asks with a browser, if they signed in.
Recognise = Callable[[Request], Awaitable[None]]


def add_handlers(app: FastAPI, *, pages: bool, recognise: Recognise) -> None:
    """Let every error be answered as a problem, and where people look, as a page.

    Args:
        pages: whether the control page is served.
        recognise: called before a page that is not there is answered, so that it has the menu.
    """

    def answer(request: Request, found: ProblemError) -> Response:
        title = HTTPStatus(found.status).phrase
        if found.status == HTTPStatus.SEE_OTHER:
            return Response(status_code=found.status, headers=found.headers)
        if pages and not request.url.path.startswith(_PROGRAMS):
            response: Response = render(
                request,
                "error.html",
                found.status,
                title=title,
                detail=found.detail,
                remedy=for_people(found.remedy),
                places=places_after(request.url.path),
            )
        else:
            response = problem(found.status, title, found.detail, code=found.code, remedy=found.remedy, **found.more)
        response.headers.update(found.headers)
        return response

    async def ours(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, ProblemError)  # noqa: S101 - registered for this class only
        return answer(request, exc)

    async def known(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, ProvisionerError)  # noqa: S101 - registered for this class only
        found = problem_of(exc)
        if found.status >= 500:
            log.error("request_failed", path=request.url.path, code=exc.code, error=str(exc))
        return answer(request, found)

    async def http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class only
        if exc.status_code == 404:
            if pages and not request.url.path.startswith(_PROGRAMS):
                await recognise(request)
                return answer(request, not_there("There is no page at this address.", "Begin at the overview."))
            there = "Begin at /, or read /api/openapi.json." if pages else "There are /healthz and /readyz."
            return answer(request, not_there(f"There is nothing at this path. {there}"))
        detail = str(exc.detail)
        if exc.status_code == 405:
            detail = f"{request.method} is not possible here."
        return answer(request, ProblemError(exc.status_code, detail, headers=exc.headers))

    async def invalid(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for this class only
        # What was given is not repeated: it may be personal
        faults = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in exc.errors()]
        return answer(request, unusable("; ".join(faults)))

    async def gone(_request: Request, _exc: Exception) -> Response:
        # Whoever asked closed the connection in the middle, so nobody reads the answer
        log.info("request_aborted")
        return Response(status_code=400)

    async def unexpected(request: Request, exc: Exception) -> Response:
        log.error("request_broke", path=request.url.path, error=type(exc).__name__)
        return answer(
            request,
            ProblemError(
                500,
                "Something went wrong that nobody foresaw; nothing more was done.",
                code="unexpected",
                remedy="The log of this process says what.",
            ),
        )

    app.add_exception_handler(ProblemError, ours)
    app.add_exception_handler(ProvisionerError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)
