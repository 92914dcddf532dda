"""The fields of a form of ours, and who sent it."""

from __future__ import annotations

from typing import TypeAlias

from fastapi import Request

from provisioner.web import request_bodies
from provisioner.web.auth.access import Session, check_form

Fields: TypeAlias = list[tuple[str, str]]


async def fields_of(request: Request, session: Session) -> Fields:
    """The fields, in their order.

    Raises:
        ProblemError: 403 the form came from elsewhere, 413 too large, 415 no form.
    """
    found = await request_bodies.form(request)
    check_form(request, session, first(found, "csrf"))
    return found


def first(fields: Fields, name: str) -> str:
    """The first value of a field; empty if it is not there."""
    return next((text for other, text in fields if other == name), "")


def every(fields: Fields, name: str) -> list[str]:
    """All values of a field."""
    return [text for other, text in fields if other == name]


def sent_by(session: Session) -> str:
    """Whoever signed in, as the audit trail names them."""
    assert session.user is not None  # noqa: S101 - `SignedIn` saw to it
    return f"web:{session.user.name}"
