"""Logs: one line per event on standard error, with neither personal data nor secrets in it.

Whatever is logged, by us or by a library, goes through the same processors, and last of all through `redact`. A person
is named by their key only (`person=`), which is what `provisioner why` takes.
"""

from __future__ import annotations

import json as json_module
import logging
import re
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, cast
from urllib.parse import quote
from uuid import UUID

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from provisioner.errors import UsageError, clean_messages

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

HIDDEN: Final = "[hidden]"
EMAIL: Final = "[email]"

#: Fields whose values are never shown, however they are nested; compared in lower case, hyphens as underscores.
_HIDDEN_FIELDS: Final = frozenset(
    (
        *("email", "e_mail", "mail", "work_email", "manager_email", "contact"),
        *("name", "first_name", "last_name", "middle_name", "full_name", "display_name", "preferred_name"),
        *("given_name", "family_name", "surname", "nickname", "user_name", "username", "customer_name"),
        *("phone", "mobile", "telephone", "address", "date_of_birth", "birthday", "gender"),
        *("before", "after", "wanted", "observed", "desired", "row", "rows", "values", "attributes"),
        *("body", "content", "payload", "request", "response", "headers", "params", "json", "data", "url"),
        *("authorization", "proxy_authorization", "cookie", "set_cookie", "x_api_key"),
        *("password", "secret", "webhook_secret", "api_key", "apikey", "token", "access_token", "credentials"),
    )
)

#: Of these, how many there are may be shown.
_COUNTED_FIELDS: Final = frozenset(
    ("before", "after", "wanted", "observed", "desired", "row", "rows", "values", "attributes")
)

#: What is taken out of texts, by its shape. Lengths are bounded so that a long text costs linear time.
_SHAPES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"://[^/\s@]{1,512}@"), f"://{HIDDEN}@"),
    (re.compile(r"(/webhooks/[^/\s]{1,128}/)[^\s/?\"']{1,512}"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(authorization['\"]?\s{0,4}[:=,]\s{0,4}b?['\"]?)[^\r\n'\"]{1,4096}", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(bearer\s{1,4})[\w.~+/=-]{4,4096}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Basic\s{1,4})[\w+/=-]{8,4096}"), rf"\1{HIDDEN}"),
    # pydantic quotes what it was given
    (re.compile(r"(input_value=).{1,4096}?(?=, input_type=|\n|$)"), rf"\1{HIDDEN}"),
    (re.compile(r"[\w.!$'*+^`~%-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), EMAIL),
)

#: Shorter ones would blot out half of every line, and are no secrets.
_SHORTEST_SECRET: Final = 4
_secrets: set[str] = set()
_secrets_pattern: re.Pattern[str] | None = None

#: These tell full addresses of requests, and so personal data, at INFO.
_QUIET: Final = ("httpx", "httpcore", "hpack", "urllib3", "fsspec", "paramiko", "botocore", "aiobotocore", "s3fs")
#: These bring handlers of their own.
_ROUTED: Final = ("celery", "celery.task", "celery.redirected", "kombu", "uvicorn", "uvicorn.error", "uvicorn.access")


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger; bind what an event is about with `structlog.contextvars` (run, target, operation, worker)."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def hide(*secrets: str | None) -> None:
    """Take these texts, and their forms in addresses and in JSON, out of every log line and error from now on."""
    global _secrets_pattern
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST_SECRET:
            _secrets.update((secret, quote(secret), quote(secret, safe=""), json_module.dumps(secret)[1:-1]))
    if _secrets:
        # The longest first, or a secret that begins with another would show its end
        ordered = sorted(_secrets, key=lambda text: (-len(text), text))
        _secrets_pattern = re.compile("|".join(map(re.escape, ordered)))
    clean_messages(without_secrets)


def without_secrets(text: str) -> str:
    """A text without the secrets that the settings hold; whatever else it says stays."""
    return text if _secrets_pattern is None else _secrets_pattern.sub(HIDDEN, text)


def clean(text: str) -> str:
    """A text without emails, known secrets and credentials."""
    text = without_secrets(text)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - the signature is structlog's
    """The last processor before an event is written."""
    return {str(key): _shown(str(key), value) for key, value in event.items()}


def _shown(key: str, value: Any) -> Any:
    field = key.lower().replace("-", "_")
    if value is not None and field in _HIDDEN_FIELDS and not (field in _COUNTED_FIELDS and isinstance(value, int)):
        return HIDDEN
    if isinstance(value, Enum):
        return _shown(key, value.value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(inner)): _shown(str(inner), content) for inner, content in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_shown("", content) for content in value]
    if isinstance(value, (BaseException, date, timedelta, Decimal, PurePath, UUID)):
        return clean(str(value))
    # The repr of an account or a person holds all of it
    return f"<{type(value).__name__}>"


def configure(level: str = "info", *, json: bool) -> None:
    """Set up logging for this process; may be called again.

    Args:
        level: one of `LEVELS`.
        json: one JSON object a line (for machines); else coloured lines for a terminal.

    Raises:
        UsageError: there is no such level.
    """
    if level.lower() not in LEVELS:
        raise UsageError(f"log level: {level!r} is none of {', '.join(LEVELS)}.")
    number = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _ROUTED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    # A line that cannot be written is lost; said on standard error, it would quote the exception that was under way
    logging.raiseExceptions = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
