"""A vendor that changes its mind: what is new in the shape of its answers is said once, before it makes a failure."""

from __future__ import annotations

from hashlib import blake2b

import structlog

from provisioner.progress import notifications
from provisioner.runtime.context import Deployment
from provisioner.store.runs.answer_shapes import AnswerChange
from provisioner.targets.answer_shapes import MOST_ENDPOINTS, AnswerShapes, Shape, changes, without_gone

log = structlog.get_logger(__name__)


async def noted(dep: Deployment, target: str, heard: AnswerShapes) -> tuple[str, ...]:
    """Compare what was heard with what is known, and remember it; the sentences of what is new.

    Raises:
        StoreError: Redis does not answer.
    """
    if not heard.shapes:
        return ()
    known = await dep.answer_shapes.known(target)
    now = await dep.clock.now()
    found: list[AnswerChange] = []
    shapes = {}
    for endpoint, shape in heard.shapes.items():
        document = known.get(endpoint)
        if document is None and len(known) >= MOST_ENDPOINTS:
            continue
        before = Shape.from_json(document) if document else Shape()
        said = changes(before, shape) if document else []
        found += [{"at": now, "endpoint": endpoint, "change": change} for change in said]
        after = without_gone(before, shape).and_then(shape).to_json()
        if after != document:
            shapes[endpoint] = after
    await dep.answer_shapes.keep(target, shapes, found)
    if not found:
        return ()
    sentences = tuple(f"{target} answers otherwise than before: {one['endpoint']}: {one['change']}." for one in found)
    for one in found:
        log.warning("answer_changed", target=target, endpoint=one["endpoint"], change=one["change"])
    await notifications.answers_changed(
        dep, target, sentences, [blake2b(one.encode(), digest_size=8).hexdigest() for one in sentences]
    )
    return sentences
