"""Whatever an operation was not done for, the page says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from provisioner.model import outcome
from provisioner.settings import known_kinds, load
from provisioner.targets import responses
from provisioner.targets.registry import target_class
from provisioner.targets.responses import ADVICE
from provisioner.web.pages.run_view import _OTHERWISE, _OWN_ADVICE, remedy_for

PACKAGE = Path(responses.__file__).parents[1]
CODE = re.compile(r"\b(?:Permanent|Temporary|Unclear)\(\s*\"([a-z_]+)\"")


def codes_in(*paths: Path) -> set[str]:
    """The codes of the outcomes that these modules make."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    literal = {code for text in texts for code in CODE.findall(text)}
    return literal | {outcome.DELETED_IN_THE_WAY for text in texts if "DELETED_IN_THE_WAY," in text}


@pytest.mark.parametrize("kind", known_kinds())
def test_every_code_of_a_kind_has_its_advice_and_every_advice_its_code(kind: str) -> None:
    codes = codes_in(*(PACKAGE / "targets" / kind).rglob("*.py"))
    own = target_class(kind).advice
    assert codes - own.keys() - ADVICE.keys() == set()
    assert own.keys() <= codes
    assert not own.keys() & ADVICE.keys()


def test_every_code_of_the_rest_has_its_advice() -> None:
    codes = {code for code, _ in responses._MEANING.values()} | codes_in(*(PACKAGE / "targets").glob("*.py"))
    for folder in ("runtime", "runs", "dispatch", "progress"):
        codes |= codes_in(*(PACKAGE / folder).rglob("*.py"))
    assert len(codes) > 15
    assert codes - ADVICE.keys() - _OWN_ADVICE.keys() == set()


def test_advice_is_the_targets_own_even_if_it_is_disabled(tmp_path: Path) -> None:
    config = tmp_path / "provisioner.yaml"
    config.write_text("targets: {members: {kind: habitate, enabled: false}}\n", encoding="utf-8")
    settings: Any = load(config, environ={}).settings
    assert remedy_for(settings, "members", "unknown_role").startswith("The target has nothing of that name.")
    assert remedy_for(settings, "members", "invalid").startswith("The target refused a value.")
    assert remedy_for(settings, "members", "held").startswith("Look who is affected")
    assert remedy_for(settings, "gone", "invalid").startswith("The target refused a value.")
    assert remedy_for(settings, "gone", "unknown_role") == _OTHERWISE
