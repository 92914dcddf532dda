"""What the overview, readiness and the figures say of beat and workers, by the signs that lie in Redis."""

from __future__ import annotations

import re
import time
from contextlib import closing

import pytest

from provisioner.store.admin.heartbeats import HeartbeatWriter
from provisioner.store.redis.address import RedisAddress
from tests.support.redis_contents import RedisContents
from tests.web.conftest import OPERATOR, Site, bearer


def signs(url: str, *, beat: float | None, worker: float | None, first: float = 3600) -> None:
    """Beat and a worker gave their last sign so many seconds ago, the first of them `first` seconds ago."""
    contents = RedisContents(url)
    with closing(HeartbeatWriter.opened(RedisAddress.parse(url), within=5)) as writer:
        if beat is not None:
            writer.beat(10)
            contents.sign("beat", beat)
        if worker is not None:
            writer.worker("app-1", 17, 6)
            ((entry, _),) = contents.workers()
            contents.see_worker(entry, time.time() - worker)
            contents.sign("worker", worker)
    contents.sign("first", first)


def notices(page: str) -> dict[str, str]:
    """The notices about silent processes, by the process."""
    found = re.findall(r'<div class="notice( bad)?" id="silent-(\w+)"><p>(.*?)</p>', page)
    return {process: f"{'fail' if bad else 'warn'}: {text}" for bad, process, text in found}


def state(page: str, what: str) -> str:
    """What stands under a word of the strip."""
    found = re.search(rf"<dt>{what}</dt><dd>(.*?)</dd>", page)
    assert found
    return re.sub(r"<[^>]+>", "", found[1]).strip()


def test_all_is_well(site: Site, redis_url: str) -> None:
    signs(redis_url, beat=1, worker=1)
    site.sign_in()
    page = site.client.get("/").text
    assert notices(page) == {}
    assert (state(page, "Beat"), state(page, "Workers")) == ("ok", "1 ok")


@pytest.mark.parametrize(
    ("beat", "worker", "process", "told", "states"),
    [
        (200, 1, "beat", "fail: Beat has not ticked for 3 min", ("silent", "1 ok")),
        (1, 200, "worker", "fail: No worker has answered for 3 min", ("ok", "0 silent")),
        (None, 1, "beat", "fail: Beat never ticked", ("never", "1 ok")),
        (1, None, "worker", "fail: No worker was ever started", ("ok", "0 never")),
    ],
)
def test_one_is_silent(
    site: Site,
    redis_url: str,
    beat: float | None,
    worker: float | None,
    process: str,
    told: str,
    states: tuple[str, str],
) -> None:
    signs(redis_url, beat=beat, worker=worker)
    site.sign_in()
    page = site.client.get("/").text
    assert set(notices(page)) == {process}
    assert notices(page)[process].startswith(told)
    assert f"`provisioner {process}`" in notices(page)[process]
    assert (state(page, "Beat"), state(page, "Workers")) == states
    ready = site.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.headers["content-type"] == "application/problem+json"
    assert ready.json()["code"] == "silent"
    assert ready.json()["detail"].startswith(told.partition(": ")[2])
    assert (ready.json()["beat"], ready.json()["workers"]) == (states[0], states[1].partition(" ")[2])
    # Nobody without a token learns where they run
    assert "app-1" not in ready.text
    assert site.client.get("/readyz?only=redis").status_code == 200
    figures = site.client.get("/metrics", headers=bearer(OPERATOR)).text
    assert f'provisioner_process_silent{{process="{process}"}} 1.0' in figures
    assert f"provisioner_workers {float(worker == 1)}" in figures


def test_before_anything_was_started_the_page_says_how_to_start(site: Site) -> None:
    site.sign_in()
    page = site.client.get("/").text
    assert set(notices(page)) == {"beat", "worker"}
    assert all(text.startswith("warn: ") and "`provisioner up`" in text for text in notices(page).values())
    assert site.client.get("/readyz").status_code == 200
    figures = site.client.get("/metrics", headers=bearer(OPERATOR)).text
    assert "provisioner_workers 0.0" in figures
    assert "provisioner_beat_age_seconds" not in figures
