"""What a check says of people who are pushed one by one: how many, since when, and whether some may be missing."""

from __future__ import annotations

from provisioner.admin.preflight.redis import ANSWERS_WITHIN
from provisioner.model.check_result import Line
from provisioner.model.run_document import WAITS
from provisioner.progress.vitals import ago
from provisioner.runs.pushed_roster import NAME, behind
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings


async def pushed_people(settings: Settings) -> list[Line]:
    """The findings.

    Raises:
        StoreError: Redis does not answer any more.
    """
    async with Deployment.open(settings, reading=True, within=ANSWERS_WITHIN) as dep:
        facts = await dep.pushed_people.facts()
        count, wait = await dep.pushed_people.count(), await dep.changed_people.count()
        missing = await behind(dep)
        last = (
            f"the last change came {ago(await dep.clock.now() - facts.pushed)} ago" if facts.pushed else "none so far"
        )
    waiting = f" {wait} of them wait for their run." if wait else ""
    lines = [Line("roster source", "ok", f"Runs read {NAME}: {count} are there, {last}.{waiting}")]
    if missing is not None:
        remedy = "When all are there again: provisioner sync --accept with the digest below."
        lines.append(Line("roster source", "fail", missing, remedy, WAITS))
    return lines
