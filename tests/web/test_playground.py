"""The mapping playground: what an expression gives for a person and what it would change, with nothing written."""

from __future__ import annotations

from html import unescape
from typing import Any

import msgspec
import pytest

from provisioner.admin.playground import LONGEST, try_expression
from provisioner.errors import UsageError
from provisioner.model.trial import Trial
from tests.decisions.conftest import company
from tests.web.conftest import VIEWER, Site


def tried(site: Site, expression: str, of: str = "", key: str = "W0001") -> Any:
    target, _, attribute = of.partition(" ")

    async def look(dep: Any) -> Any:
        return await try_expression(dep, key, expression, target, attribute)

    found = site.work(look)
    assert msgspec.to_builtins(msgspec.convert(found, Trial)) == found
    return found


@pytest.fixture
def known(site: Site) -> Site:
    """Three people with an account, a fourth who left, and a fifth who is new."""
    site.roster.write_text(company(20))
    site.sync()
    site.roster.write_text(company(20, gone=(3,)))
    site.sync()
    return site


def test_an_expression_gives_a_value_and_says_what_it_would_change(known: Site) -> None:
    assert tried(known, "UPPER(last_name) || '!'")["value"] == "LAST1!"
    found = tried(known, "UPPER(last_name)", "tribal_habits last_name")
    effect = found["effect"]
    assert (effect["changes"], effect["now"], effect["seen"]) == (True, "Last1", "Last1")
    assert effect["message"] == "The next sync would write it."
    same = tried(known, "last_name", "tribal_habits last_name")["effect"]
    assert (same["changes"], same["message"]) == (False, "Nothing: the account has that value.")
    identifier = tried(known, "'other'", "tribal_habits user_name")["effect"]
    assert (identifier["changes"], "set at create only" in identifier["message"]) == (False, True)
    leaver = tried(known, "'other'", "tribal_habits last_name", key="W0003")["effect"]
    assert (leaver["changes"], "leaver" in leaver["message"]) == (False, True)
    nothing = tried(known, "NULL", "tribal_habits last_name")
    assert (nothing["value"], nothing["effect"]["changes"]) == (None, False)


def test_what_it_says_is_what_the_next_sync_does(known: Site) -> None:
    known.roster.write_text(company(20, gone=(3,), changes={1: {"last_name": "Changed"}}))
    before = [one["last_name"] for one in known.switchboard.accounts("tribal_habits")]
    assert tried(known, "'Changed'", "tribal_habits last_name")["effect"]["changes"]
    assert [one["last_name"] for one in known.switchboard.accounts("tribal_habits")] == before
    known.sync()
    # It is compared with what was listed last
    known.sync()
    assert not tried(known, "'Changed'", "tribal_habits last_name")["effect"]["changes"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("UPER(last_name)", "UPER"),
        ("surname", "no column 'surname'"),
        ("MAX(last_name)", "MAX"),
        ("last_name ||", "no SQL expression"),
        ("(SELECT 1)", "The expression"),
        ("read_csv('/etc/passwd')", "The expression"),
        ("CAST(last_name AS INT)", "fails for this row"),
        ("1" * (LONGEST + 1), "longer than"),
    ],
)
def test_a_wrong_expression_is_explained(known: Site, expression: str, said: str) -> None:
    found = tried(known, expression, "tribal_habits last_name")
    assert (found["value"], found["effect"]) == (None, None)
    assert said in found["fault"]


def test_a_value_that_does_not_fit_its_attribute_is_explained(known: Site) -> None:
    found = tried(known, "'perhaps'", "tribal_habits active")
    assert found["fault"].startswith("active does not take the value")


def test_nobody_and_nothing_of_that_name(known: Site) -> None:
    for key, of in (("nobody", ""), ("W0001", "nowhere x"), ("W0001", "tribal_habits nothing")):
        with pytest.raises(UsageError):
            tried(known, "'x'", of, key)


def test_the_page_is_for_operators_and_keeps_the_form(known: Site) -> None:
    known.sign_in()
    place = "/playground?key=W0001&target=tribal_habits&attribute=last_name"
    assert place.replace("&", "&amp;") in known.client.get("/people?key=W0001").text
    text = unescape(known.client.get(place).text)
    assert "Nothing: the account has that value" in text
    sent = {"key": "W0001", "of": "tribal_habits last_name", "sql": "'<b>' || last_name"}
    answer = known.send("/playground", "/playground", sent)
    assert "&lt;b&gt;Last1" in answer.text
    assert "<b>Last1" not in answer.text
    assert "The next sync would write it" in answer.text
    assert known.send("/playground", "/playground", {**sent, "key": "nobody"}).status_code == 422
    assert known.client.post("/playground", data=sent).status_code == 403
    # What somebody tries is no decision
    assert {one["action"] for one in known.work(lambda dep: dep.audit.newest(10))} == {"signed in"}
    known.send("/", "/sign-out")
    known.sign_in(VIEWER)
    assert known.client.get("/playground").status_code == 403
    assert "Playground" not in known.client.get("/").text
