"""Whose account is meant: the plan and what comes from outside have one answer."""

from __future__ import annotations

import sys
import unicodedata

import polars as pl
import pytest

from provisioner.model.attributes import Attribute, Type, canonical, fold
from provisioner.planning.claims import folded
from provisioner.planning.correlate import correlate
from provisioner.planning.desired import LEAVER, PERSON, REASON, STANDING
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation
from provisioner.planning.whose import Named, identifier_type
from provisioner.targets.registry import target_class

KINDS = {"tribal_habits": Type.FOLDED, "habitate": Type.TEXT, "traitly": Type.TEXT, "mtribes": Type.TEXT}


@pytest.mark.parametrize(("kind", "type_"), KINDS.items())
def test_how_identifiers_of_each_kind_compare(kind: str, type_: Type) -> None:
    assert identifier_type(target_class(kind).catalogue) is type_


TABLE = [
    ("A1", "A1", True, True),
    ("A1", "a1", True, False),
    ("Łukasz", "łukasz", True, False),
    ("Jos\u00e9", "Jose\u0301", True, True),
    ("straße", "STRASSE", False, False),
    ("a1", "a2", False, False),
    ("a1", " a1 ", True, True),
]


@pytest.mark.parametrize(("wanted", "said", "ignoring", "exact"), TABLE)
@pytest.mark.parametrize("type_", [Type.FOLDED, Type.EMAIL, Type.TEXT])
def test_plan_and_event_mean_the_same_person(wanted: str, said: str, ignoring: bool, exact: bool, type_: Type) -> None:
    """One table, two doors: an account that a listing shows, and one that an event names."""
    same = exact if type_ is Type.TEXT else ignoring
    assert Named([(canonical(wanted, type_), "P1")], type_).by(said) == (("P1",) if same else ())
    desired = pl.DataFrame({PERSON: ["P1"], STANDING: ["member"], REASON: [""], "m:id": [canonical(wanted, type_)]})
    observed = pl.DataFrame({ACCOUNT: ["x"], UNTOUCHABLE: [None], "id": [canonical(said, type_)]})
    observed = observed.with_columns(pl.col(UNTOUCHABLE).cast(pl.String))
    links = pl.DataFrame({PERSON: [], ACCOUNT: []}, schema={PERSON: pl.String, ACCOUNT: pl.String})
    found = correlate(
        desired, Observation(observed, complete=True, began=0.0), links, ["id"], {"id": Attribute("id", type_)}
    )
    assert found.pairs[PERSON].to_list() == (["P1"] if same else [])
    assert LEAVER not in desired[STANDING]


def test_several_people_of_one_name_are_all_named() -> None:
    found = Named([("ada@example.com", "P1"), ("ADA@example.com", "P2"), ("", "P3"), (None, "P4")], Type.EMAIL)
    assert found.by("Ada@Example.com") == ("P1", "P2")
    assert found.by("") == found.by(None) == ()


def test_what_is_no_value_of_the_type_names_nobody() -> None:
    assert Named([("7", "P1")], Type.NUMBER).by("07") == ("P1",)
    assert Named([("7", "P1")], Type.NUMBER).by("seven") == ()


def test_one_value_and_a_column_fold_alike() -> None:
    """Every character that this Python knows, and those that fold by their neighbours."""
    texts = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    texts += ["ΑΣ", "ΑΣΑ", "Σ", "ΟΔΥΣΣΕΥΣ", "İstanbul", "ǅ", "ŒUVRE"]
    column = pl.Series("text", texts).to_frame().select(folded(pl.col("text"), Type.FOLDED)).to_series().to_list()
    unlike = [text for text, one in zip(texts, column, strict=True) if fold(text, Type.FOLDED) != one]
    assert unlike == []
