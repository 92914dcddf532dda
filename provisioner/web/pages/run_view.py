"""What the pages of a run show: its progress, its operations, and the causes of what was not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.model.operation import Kind
from provisioner.runtime.context import Deployment
from provisioner.store.runs.paging import Filter, operations_page

#: Outcomes in the order in which they are told.
OUTCOMES: Final = ("succeeded", "failed", "held", "waiting", "superseded", "rejected")
KINDS: Final = tuple(kind.value for kind in Kind)
#: Undone operations of each status that are read for their causes.
_SAMPLE: Final = 500

#: What to do about a cause, and the codes of which that is so.
_ADVICE: Final = {
    "Mend the credentials of this target in the settings, then resume it.": "unauthorised",
    "Check that the target's address is right and that it can be reached from the workers.": "unreachable",
    "The target refused a value. Mend it in the roster or the mapping, then sync again.": (
        "invalid bad_request row_refused bad_username invalid_tag too_large cannot_be_empty"
    ),
    "The mapping gives no value that the target requires. Mend it, then sync again.": "missing_required incomplete",
    "Our credentials may not do this. Ask for that right in the target, then retry.": "forbidden",
    "The target has this name or email already. Look for the other account, then retry.": "taken conflict",
    "The target has nothing of that name. Make it there, or mend the mapping, then retry.": (
        "unknown_board unknown_role unknown_name roles_unknown no_code"
    ),
    "There is no account to do this for. The next run finds out what is right.": "no_account",
    "The account is gone in the target. The next run finds out and makes it anew if it is wanted.": "gone not_found",
    "Look in the target whether it was done, then retry.": "create_unclear unclear_knowledge",
    "Check base_url: the target answers from another address.": "redirected",
    "The target, or what stands before it, does not answer as its vendor says. Check base_url, then ask the vendor.": (
        "malformed_answer answer_too_large method_not_allowed not_acceptable "
        "unsupported_type refused rows_unaccounted unknown_row"
    ),
    "The program or the target's package failed. See the worker's log, report it, then retry.": "unexpected",
    "The target takes nothing of this kind. Take it out of the settings.": "unsupported",
    "The target is not ready. It is tried again by itself.": "unavailable tags_in_flight",
    "The target asked us to slow down. It goes on by itself.": "rate_limited",
    "The target stumbled. It is tried again by itself; if it goes on, ask the vendor.": (
        "server_error connection_lost deadline"
    ),
    "Mend what the operation before it failed by; it goes out with that one.": "leader_failed",
    "Look who is affected, then approve or reject.": "held",
    "Find out why the target shows fewer accounts than before. Nothing is sent until it is believed.": "listing_shrank",
    "Find out why the target shows values no more. Nothing is sent until it is believed.": "listing_blank",
}
_REMEDIES: Final = {code: advice for advice, codes in _ADVICE.items() for code in codes.split()}
_OTHERWISE: Final = "Mend what the target says, then retry."


@dataclass(frozen=True, slots=True)
class Cause:
    """Why operations were not done: how many (of those looked at), one person as an example, and what to do."""

    target: str
    status: str
    code: str
    message: str
    count: int
    person: str
    remedy: str


async def causes(dep: Deployment, run: str, document: Mapping[str, Any]) -> tuple[tuple[Cause, ...], bool]:
    """Failed, held and waiting operations by cause, the commonest first; whether only some of them were looked at."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str, str, str], str] = {}
    partly = False
    for status in ("failed", "held", "waiting"):
        targets = [
            name
            for name, part in document["targets"].items()
            # What a guard holds is told by the guard
            if any((part.get(status) or {}).values()) and not (status == "held" and part.get("guards"))
        ]
        if not targets:
            continue
        page = await operations_page(dep.redis, run, targets, Filter((status,)), limit=_SAMPLE)
        partly = partly or page.next is not None
        for row in page.rows:
            error = row["error"] or {}
            cause = (row["target"], status, str(error.get("code", "")), str(error.get("message", "")))
            counts[cause] += 1
            examples.setdefault(cause, row["person"])
    found = [
        Cause(*cause, count=count, person=examples[cause], remedy=_REMEDIES.get(cause[2], _OTHERWISE))
        for cause, count in counts.most_common()
    ]
    return tuple(found), partly


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one target's part is: operations that ended of those planned, and that in percent."""

    planned: int
    ended: int
    percent: int


def progress(part: Mapping[str, Any]) -> Progress:
    """Of a run's part for one target."""
    planned = sum((part.get("planned") or {}).values())
    ended = sum(sum((part.get(name) or {}).values()) for name in OUTCOMES if name != "waiting")
    ended = min(ended, planned)
    return Progress(planned, ended, 100 if not planned else ended * 100 // planned)


async def in_run(dep: Deployment, run: str, person: str, targets: Sequence[str]) -> list[dict[str, Any]]:
    """One person's operations in a run."""
    found = {one["id"]: one for one in await dep.runs.history(person, 200) if one["run"] == run}
    for target in targets:
        if target not in dep.specs:
            continue
        for one in await dep.runs.standing(target, person):
            if one["run"] == run:
                found[one["id"]] = one
    return [one for one in found.values() if one["target"] in targets]
