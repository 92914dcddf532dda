"""Which class serves a kind."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from provisioner.errors import ConfigurationError
from provisioner.settings import TargetSettings
from provisioner.settings.kinds import ENTRY_POINT_GROUP
from provisioner.targets import registry
from provisioner.targets.registry import kinds, make, target_class
from provisioner.targets.tribal_habits import TribalHabits


class Added(TribalHabits):
    """A third party's kind."""

    kind = "added"


def offered(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Let an installed package offer the kind `added`."""
    point = EntryPoint("added", value, ENTRY_POINT_GROUP)

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point] if group == ENTRY_POINT_GROUP else []

    monkeypatch.setattr(registry, "entry_points", entry_points)


def settings(kind: str) -> TargetSettings:
    """Settings that only name the kind."""
    return TargetSettings(kind=kind, enabled=False)


def test_the_four_kinds_are_built_in() -> None:
    assert set(kinds()) >= {"tribal_habits", "habitate", "traitly", "mtribes"}
    for kind in ("tribal_habits", "habitate", "traitly", "mtribes"):
        made = make("mine", settings(kind))
        assert (made.name, made.kind) == ("mine", kind)


def test_a_package_may_add_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, f"{__name__}:Added")
    assert target_class("added") is Added


@pytest.mark.parametrize("value", ["no_such_module:Thing", f"{__name__}:Missing", f"{__name__}:settings"])
def test_a_package_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    offered(monkeypatch, value)
    with pytest.raises(ConfigurationError, match="added"):
        make("mine", settings("added"))


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="'habitate'"):
        make("mine", settings("habitat"))
