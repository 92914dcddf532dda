"""Ten thousand webhooks, each three times, with processes being killed: each event has exactly one effect."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.inbound.storm import Size, Storm

EVENTS: Final = int(os.environ.get("PROVISIONER_TEST_WEBHOOKS", "10000"))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_every_event_has_exactly_one_effect(tmp_path: Path) -> None:
    size = Size(events=EVENTS, people=200, kills=20, workers=2)
    told = Storm(tmp_path, size, seed=1, patience=1500.0).run()
    print(told.sentence(size))  # noqa: T201
    assert told.wrong[:20] == []
    assert told.answers["202 accepted"] + told.answers["202 known"] == EVENTS * 3
