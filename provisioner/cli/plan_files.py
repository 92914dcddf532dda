"""Plans for review: written by `plan --out`, and read again by `sync --plan`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.admin.whole_file import whole_file
from provisioner.errors import UsageError
from provisioner.model.plan_file import DIGEST, PlanFile, kept_of, read_file, to_text
from provisioner.store.runs.documents import Request

if TYPE_CHECKING:
    from provisioner.runtime.context import Deployment


async def keep(dep: Deployment, path: str, plan: PlanFile) -> None:
    """Write a plan's file, and keep what `sync --plan DIGEST` needs of it.

    Raises:
        UsageError: the file cannot be written.
    """
    with whole_file(path, "--out") as file:
        file.write(to_text(plan).encode())
    await dep.reviewed.keep(plan["digest"], kept_of(plan), dep.settings.retention.plans.total_seconds())


async def reviewed(dep: Deployment, given: str, request: Request) -> Request:
    """The request for a run that applies a reviewed plan, which is kept for it.

    Args:
        given: the plan's file, or the digest of one that is kept.

    Raises:
        UsageError: there is no such plan, or it names targets that the settings do not have.
    """
    from provisioner.runs.orders import with_plan

    digest = given
    if not DIGEST.fullmatch(given):
        try:
            text = await asyncio.to_thread(Path(given).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(
                f"--plan: {given} is neither the digest of a plan nor a file that can be read: {exc}."
            ) from None
        digest, plan = read_file(text, given)
        await dep.reviewed.keep(digest, plan, dep.settings.retention.plans.total_seconds())
    return await with_plan(dep, request, digest)
