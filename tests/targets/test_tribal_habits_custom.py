"""Custom fields of Tribal Habits: spelt as the vendor's text says, compared as the values that they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError
from provisioner.model.attributes import Type, canonical, fold
from provisioner.planning.claims import folded
from provisioner.sandbox import SandboxServer
from provisioner.settings import TargetSettings
from provisioner.targets.registry import make, target_class
from provisioner.targets.tribal_habits.attributes import read, spell
from tests.targets.portal import PORTAL, Portal, person

DAYS = st.dates(date(1000, 1, 1), date(9999, 12, 31))
PIECES = st.sampled_from([*"0123456789/.-; aÄZé", "10", "007", "1.50", "01/02/2024", "2024-02-01", "Honda", ";;"])


@given(st.lists(PIECES, max_size=6).map("".join))
def test_python_and_polars_fold_a_value_alike(text: str) -> None:
    value = canonical(text, Type.VALUE)
    column = pl.Series("v", [value], dtype=pl.String)
    (found,) = pl.DataFrame([column]).select(folded(pl.col("v"), Type.VALUE).alias("v"))["v"].to_list()
    assert (found or None) == (fold(value, Type.VALUE) or None)


@given(DAYS)
def test_a_date_is_the_same_in_every_spelling_and_is_sent_as_the_text_prints_it(day: date) -> None:
    printed = f"{day.day:02d}/{day.month:02d}/{day.year:04d}"
    short = f"{day.day}/{day.month}/{day.year:04d}"
    assert len({fold(text, Type.VALUE) for text in (printed, short, day.isoformat())}) == 1
    for type_ in (None, Type.DATE):
        assert spell("X-Start", day.isoformat(), type_) == printed
    for text in (printed, short, day.isoformat()):
        assert read({"X-Start": text}, {"X-Start": Type.DATE}) == {"X-Start": day.isoformat()}
    # Declared as text it is left alone, and no other field has dates of that form
    assert spell("X-Start", day.isoformat(), Type.TEXT) == day.isoformat()
    assert spell("deactivate_scheduled_date", day.isoformat()) == day.isoformat()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("27", "27.0", True),
        ("27.50", "27.5", True),
        ("0.10", "0.1", True),
        ("007", "7", False),
        ("Toyota;Honda", "honda; toyota", True),
        ("Toyota;Honda", "Toyota", False),
        ("Ana", "ana", False),
        ("31/12/2024", "2024-12-31", True),
        ("1/2/2024", "2024-02-01", True),
        ("12/31/2024", "2024-12-31", False),
    ],
)
def test_values_are_compared_as_what_they_look_like(one: str, other: str, same: bool) -> None:
    assert (fold(one, Type.VALUE) == fold(other, Type.VALUE)) is same


@pytest.mark.parametrize(
    ("type_", "value", "sent"),
    [
        (Type.NUMBER, "27", 27),
        (Type.NUMBER, "27.5", 27.5),
        (Type.SET, "Honda;Toyota", "Honda;Toyota"),
        (None, "27", "27"),
        (Type.TEXT, "27", "27"),
        (Type.DATE, None, None),
    ],
)
def test_a_declared_type_is_spelt_as_the_text_prints_it(type_: Type | None, value: str | None, sent: Any) -> None:
    assert spell("X-Any", value, type_) == sent


def test_what_is_not_of_the_declared_type_is_shown_as_it_is_and_stops_nothing() -> None:
    types = {"X-Start": Type.DATE, "X-Age": Type.NUMBER}
    assert read({"X-Start": "soon", "X-Age": "old"}, types) == {"X-Start": "soon", "X-Age": "old"}


def settings(**changes: Any) -> TargetSettings:
    attributes = {"user_name": "id", "first_name": "a", "last_name": "b", "email": "c", **changes.pop("attributes", {})}
    document = {
        "kind": "tribal_habits",
        "base_url": "http://127.0.0.1:1",
        "api_key": "key",
        "match": ["user_name"],
        "attributes": attributes,
        **changes,
    }
    found: TargetSettings = target_class("tribal_habits").settings_model.model_validate(document)
    return found


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"attributes": {"language": {"from": "x", "type": "text"}}}, r"attributes\.language\.type"),
        (
            {"attributes": {"X-A": {"from": "x", "type": "date"}}, "leaver": {"X-A": {"from": "y", "type": "text"}}},
            r"leaver\.X-A\.type",
        ),
    ],
)
def test_a_type_is_said_only_where_the_vendor_does_not_say_it(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigurationError, match=where):
        make("tribal_habits", settings(**changes)).check()


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("shown", ["%d/%m/%Y", "%Y-%m-%d"])
def test_what_is_sent_is_found_again_whatever_the_portal_makes_of_it(
    sandbox: SandboxServer, redis_url: str, tmp_path: Path, declared: bool, shown: str
) -> None:
    portal = Portal(sandbox, redis_url, tmp_path)
    portal.board.options(PORTAL, dates_shown=shown)
    fields = {
        "X-Birthdate": ("DATE('1980-01-23')", "date"),
        "X-Age": ("'27.0'", "number"),
        "X-Cars": ("'Honda;Audi'", "set"),
    }
    portal.target["attributes"] |= {
        name: {"from": text, "type": type_} if declared else text for name, (text, type_) in fields.items()
    }
    portal.roster([person(number) for number in range(5)])
    assert portal.sync()["succeeded"] == {"create": 5}
    held = portal.held("E1")
    assert (held["X-Birthdate"], held["X-Age"]) == (date(1980, 1, 23).strftime(shown), 27)
    for full in (True, False):
        assert portal.sync(full=full)["unchanged"] == 5
    # Another order of the same is no difference; another value is one, in whichever spelling
    portal.board.seed(PORTAL, [{"user_name": "E1", "X-Cars": "Audi;Honda"}])
    assert portal.sync()["unchanged"] == 5
    portal.board.seed(PORTAL, [{"user_name": "E1", "X-Birthdate": "24/01/1980", "X-Cars": "Honda"}])
    assert portal.sync()["succeeded"] == {"update": 1}
    assert portal.held("E1")["X-Birthdate"] == date(1980, 1, 23).strftime(shown)
