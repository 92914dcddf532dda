"""What targets declare: some kind makes each declaration, the rest of the program asks for it, and nobody sniffs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.runtime.context import spec_of
from provisioner.settings import known_kinds
from provisioner.targets import capabilities
from provisioner.targets.base import Target
from provisioner.targets.capabilities import CAPABILITIES, inbound_actions, tag_attribute
from provisioner.targets.registry import make, target_class
from tests.planning.support import spec_of as usual_spec_of

SOURCE = Path(capabilities.__file__).resolve().parents[1]
#: Where vendors, and those who play them, are at home.
VENDORS = {"targets", "sandbox", "example"}


def members_of(capability: type) -> set[str]:
    """The names that a capability asks for."""
    return {name for name in (*vars(capability), *capability.__annotations__) if not name.startswith("_")}


def trees(*, everywhere: bool = False) -> Iterator[tuple[Path, ast.Module]]:
    """The program's modules; those of vendors only if `everywhere`."""
    for path in sorted(SOURCE.rglob("*.py")):
        if everywhere or path.relative_to(SOURCE).parts[0] not in VENDORS or path.name == "capabilities.py":
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_the_list_of_capabilities_is_whole() -> None:
    protocols = {value for value in vars(capabilities).values() if getattr(value, "_is_protocol", False)}
    assert set(CAPABILITIES) == {one for one in protocols if one.__module__ == capabilities.__name__}


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda one: str(one.__name__))
def test_each_capability_is_declared_and_asked_for_and_each_member_is_read(capability: type) -> None:
    assert any(capability in target_class(kind).__mro__ for kind in known_kinds()), "no kind declares it"
    asked: set[str] = set()
    read: set[str] = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                asked.add(ast.unparse(node.args[1]))
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
    assert capability.__name__ in asked, "nobody asks for it"
    assert members_of(capability) <= read


@pytest.mark.parametrize("kind", known_kinds())
def test_what_a_kind_has_of_a_capability_it_declares(kind: str) -> None:
    offered: Any = target_class(kind)
    for capability in CAPABILITIES:
        has = {name for name in members_of(capability) if hasattr(offered, name)}
        declared = capability in offered.__mro__
        assert not has or declared, f"{kind} has {has}, but does not declare {capability.__name__}"
        assert has == (members_of(capability) if declared else set()), capability.__name__
        assert not declared or not any(getattr(offered, name) is vars(capability).get(name) for name in has)


def test_the_core_is_small() -> None:
    core = {name for name in (*vars(Target), *Target.__annotations__) if not name.startswith("_")}
    assert core == {
        "kind", "settings_model", "catalogue", "advice", "attribute", "origin", "headers", "observe", "group",
        "batch_size", "write", "probe", "check", "takes_type", "declared_type",
    }  # fmt: skip


def test_nobody_looks_for_a_setting_of_some_vendor_by_name() -> None:
    sniffed = [
        f"{path.name}:{node.lineno}"
        for path, tree in trees(everywhere=True)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("getattr", "hasattr")
        and "settings" in ast.unparse(node.args[0])
        and isinstance(node.args[1], ast.Constant)
    ]
    assert sniffed == []


def test_no_vendor_is_named_beyond_the_vendors_own_rooms() -> None:
    # The demo shows the sandbox's vendors, and tells of them
    folders = [f"targets/{kind}" for kind in known_kinds()]
    rooms = ("sandbox", "example", *folders, "cli/demo.py", "cli/demo_roundtrip.py")
    named = re.compile("habitate|mtribes|traitly|tribal.?habits", re.IGNORECASE)
    found = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in (".py", ".html", ".js", ".lua") and not path.relative_to(SOURCE).as_posix().startswith(rooms)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if named.search(line)
    ]
    assert found == []


def test_what_a_route_may_bring_about_follows_from_what_is_declared() -> None:
    settings = {kind: usual_spec_of(kind).settings for kind in ("tribal_habits", "habitate", "traitly", "mtribes")}
    made = {kind: make(kind, one) for kind, one in settings.items()}
    assert {kind: inbound_actions(one) for kind, one in made.items()} == {
        "tribal_habits": ("enrolment",),
        "habitate": (),
        "traitly": ("event",),
        "mtribes": ("tag",),
    }
    assert [kind for kind, one in made.items() if tag_attribute(one)] == ["mtribes"]


def test_the_planner_is_given_what_is_declared() -> None:
    spec = spec_of(make("th", usual_spec_of(enrolments=[{"code": "TH-4-77-NEW"}]).settings))
    assert [rule.code for rule in spec.enrolments] == ["TH-4-77-NEW"]
    assert (spec.activity, spec.bundled_enrolments) == ("active", 5)
    assert spec.ends_attribute == "deactivate_scheduled_date"
    assert set(spec.knowledge_key) <= set(spec.knowledge)
    crm = spec_of(make("crm", usual_spec_of("traitly", events={"role_changed": "Moved"}).settings))
    assert (crm.facts, crm.role_attribute) == ({"role_changed": "Moved"}, "custom_attributes.role")
    assert (crm.enrolments, crm.bundled_enrolments, crm.activity) == ((), 0, None)
