"""Reading a paged list of the vendor's whole, or not at all.

The envelope is `total_records`, `max_per_page`, `current_page`, `total_pages`, `records` (page "Get all users").
What comes back is believed, not what was asked for: the upper bound of `max_per_page` is not published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

from provisioner.errors import ListingError, MalformedAnswerError
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer

AT_ONCE = 4
TRIES = 3


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """One page and what it says of the whole."""

    total_records: int
    max_per_page: int
    current_page: int
    total_pages: int
    records: Sequence[Mapping[str, Any]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """What all pages of one listing have in common."""
        return self.total_records, self.max_per_page, self.total_pages

    def fault(self, number: int) -> str | None:
        """What is contradictory about it if it is meant to be page `number`, else None."""
        expected = -(-self.total_records // self.max_per_page)
        if self.total_pages != expected and not (self.total_records == 0 and self.total_pages <= 1):
            return f"{self.total_records} records do not make {self.total_pages} pages of {self.max_per_page}"
        if self.current_page != number:
            return f"page {number} was asked for, page {self.current_page} came"
        due = min(self.max_per_page, max(0, self.total_records - (number - 1) * self.max_per_page))
        if len(self.records) != due:
            return f"page {number} holds {len(self.records)} records instead of {due}"
        return None


def page(target: str, answer: Answer) -> Page:
    """The envelope of an answer.

    Raises:
        MalformedAnswerError: it is none.
    """
    body = answer.json
    if not isinstance(body, dict):
        raise MalformedAnswerError(target, "a listing is no JSON object.")
    total, size, current, pages = (
        _count(target, body.get(name)) for name in ("total_records", "max_per_page", "current_page", "total_pages")
    )
    records = body.get("records")
    if size < 1 or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise MalformedAnswerError(target, "a listing lacks its records.")
    return Page(total, size, current, pages, records)


def _count(target: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedAnswerError(target, "a listing lacks total_records, max_per_page or its page numbers.")
    return value


@dataclass(frozen=True, slots=True)
class Whole(Generic[T]):
    """All records of a list, in its order, as what was made of them; and the vendor's time when its first page was
    answered (epoch seconds)."""

    records: Sequence[T]
    as_of: float | None = None


async def read_all(
    http: Http, path: str, params: Mapping[str, str] | None = None, *, accept: Collection[int] = ()
) -> Sequence[Mapping[str, Any]]:
    """The records of `read_whole`."""
    return (await read_whole(http, path, dict, params, accept=accept)).records


async def read_whole(
    http: Http,
    path: str,
    of: Callable[[Mapping[str, Any]], T],
    params: Mapping[str, str] | None = None,
    *,
    size: int | None = None,
    key: str | None = None,
    accept: Collection[int] = (),
) -> Whole[T]:
    """All records of a list, or none.

    Args:
        path: of the list.
        of: makes of a record what is kept; page by page, so that a long list is not held twice.
        params: its filters.
        size: how many records to ask for in a page; None: as many as the settings say.
        key: a field that is unique over the whole list; a record seen twice means that one was missed.
        accept: statuses that mean an empty list.

    Raises:
        ListingError: it changed or contradicted itself in each of `TRIES` readings.
        TargetError: any other failure.
    """
    fault = ""
    for _ in range(TRIES):
        found = await _read_once(
            http, path, of, {**(params or {}), "max_per_page": size or http.page_size}, key, accept
        )
        if not isinstance(found, str):
            return found
        fault = found
    raise ListingError(
        http.target, f"the listing is not believed: {fault}, in {TRIES} readings.", remedy="The next run tries again."
    )


async def _read_once(
    http: Http,
    path: str,
    of: Callable[[Mapping[str, Any]], T],
    params: Mapping[str, str | int],
    key: str | None,
    accept: Collection[int],
) -> Whole[T] | str:
    async def answered(number: int) -> Answer | None:
        answer = await http.read(path, {"page": number, **params}, accept=accept)
        return None if answer.status in accept else answer

    async def read(number: int) -> Page | None:
        answer = await answered(number)
        return None if answer is None else page(http.target, answer)

    begin = await answered(1)
    if begin is None:
        return Whole(())
    first = page(http.target, begin)
    records: list[T] = []
    seen: set[Any] = set()

    def take(one: Page) -> None:
        records.extend(map(of, one.records))
        if key is not None:
            seen.update(record.get(key) for record in one.records)

    fault = first.fault(1)
    take(first)
    # In handfuls, so that a listing that contradicts itself early is not read to its end
    for start in range(2, first.total_pages + 1, AT_ONCE):
        if fault:
            return fault
        numbers = range(start, min(start + AT_ONCE, first.total_pages + 1))
        for number, one in zip(numbers, await each(numbers, read, limit=AT_ONCE), strict=True):
            if one is None or one.shape != first.shape:
                return "it changed while it was read"
            fault = fault or one.fault(number)
            take(one)
    if fault:
        return fault
    if key is not None and len(seen) != first.total_records:
        return f"its {first.total_records} records do not have as many different {key}s"
    return Whole(records, _date(begin))


def _date(answer: Answer) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return None


def moment(seconds: float) -> str:
    """Epoch seconds as the filters `updated_at` and `updated_before` take them: UTC, without a zone."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
