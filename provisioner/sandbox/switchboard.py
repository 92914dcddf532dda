"""The switchboard under `/_sandbox`: state, seeds, options, faults, log and counts of every instance.

No credentials are asked for, so only callers on a loopback address are served.
"""

import ipaddress
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from provisioner.sandbox import faults
from provisioner.sandbox.instance import KINDS, Instance, Instances
from provisioner.sandbox.wire import JSON_TYPE, Answer, RefusedError

_Serve = Callable[[Request, Instance], Awaitable[Any]]


class Board:
    """The switchboard's endpoints over the instances; `reset` forgets one instance (by name) or all."""

    def __init__(self, instances: Instances, reset: Callable[[str | None], None]) -> None:
        self._instances = instances
        self._reset = reset

    def routes(self) -> list[Route]:
        """The endpoints."""
        paths: list[tuple[str, str, _Serve]] = [
            ("GET", "/_sandbox/state/{instance}", _state),
            ("POST", "/_sandbox/seed/{instance}", _seed),
            ("DELETE", "/_sandbox/accounts/{instance}/{key:path}", _remove),
            ("POST", "/_sandbox/act/{instance}/{action}", _act),
            ("GET", "/_sandbox/webhooks/{instance}", _webhooks),
            ("GET", "/_sandbox/log/{instance}", _log),
            ("DELETE", "/_sandbox/log/{instance}", _clear_log),
            ("GET", "/_sandbox/counts/{instance}", _counts),
            ("GET", "/_sandbox/options/{instance}", _options),
            ("POST", "/_sandbox/options/{instance}", _set_options),
            ("GET", "/_sandbox/faults/{instance}", _faults),
            ("POST", "/_sandbox/faults/{instance}", _add_faults),
            ("DELETE", "/_sandbox/faults/{instance}", _clear_faults),
        ]
        return [
            Route("/_sandbox", self.index, methods=["GET"]),
            Route("/_sandbox/reset", self.reset, methods=["POST"]),
            Route("/_sandbox/reset/{instance}", self.reset, methods=["POST"]),
            *(Route(path, self._guarded(serve), methods=[method]) for method, path, serve in paths),
        ]

    async def index(self, request: Request) -> Response:
        """The kinds that are served and the instances in use."""
        return _foreign(request) or _json({"kinds": KINDS, "instances": self._instances.names()})

    async def reset(self, request: Request) -> Response:
        """Forgets one instance, or all: state, options, faults, log and what was counted against the limit."""
        refused = _foreign(request)
        if refused is None:
            self._reset(request.path_params.get("instance"))
        return refused or _json({"reset": True})

    def _guarded(self, serve: _Serve) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            refused = _foreign(request)
            if refused is not None:
                return refused
            instance = self._instances.get(request.path_params["instance"])
            if instance is None:
                return _json({"error": f"an instance is named <kind> or <kind>-…, kinds: {', '.join(KINDS)}"}, 404)
            try:
                return _json(await serve(request, instance))
            except RefusedError as refusal:
                return _json({"error": refusal.reason}, refusal.status)
            except ValueError as error:
                return _json({"error": str(error)}, 400)

        return guarded


def _foreign(request: Request) -> Response | None:
    host = request.client.host if request.client else ""
    if host and ipaddress.ip_address(host).is_loopback:
        return None
    return _json({"error": "the switchboard serves loopback addresses only"}, 403)


def _json(value: Any, status: int = 200) -> Response:
    return Response(Answer(status, value).encoded(), status, media_type=JSON_TYPE)


async def _body(request: Request) -> Any:
    return json.loads(await request.body())


async def _state(_request: Request, instance: Instance) -> Any:
    return instance.vendor.dump()


async def _seed(request: Request, instance: Instance) -> Any:
    accounts = await _body(request)
    if not isinstance(accounts, list) or not all(isinstance(account, dict) for account in accounts):
        raise ValueError("a seed is a list of accounts in the vendor's read form")
    return {"seeded": instance.vendor.seed(accounts, instance.now())}


async def _remove(request: Request, instance: Instance) -> Any:
    instance.vendor.remove(request.path_params["key"])
    return {"removed": 1}


async def _act(request: Request, instance: Instance) -> Any:
    """What a person would do in the product's own pages, such as complete a course; its webhooks are sent."""
    given = await _body(request)
    if not isinstance(given, dict):
        raise ValueError("what an action is about is an object")
    done = instance.vendor.act(request.path_params["action"], given, instance.now())
    instance.tell()
    return {"done": done}


async def _webhooks(_request: Request, instance: Instance) -> Any:
    """The webhooks that were sent, with the status that answered each (0: none), and how many wait."""
    sender = instance.vendor.webhooks
    return {"sent": [asdict(one) for one in sender.sent], "waiting": len(sender.waiting)}


async def _log(request: Request, instance: Instance) -> Any:
    """The log from the entry number `since` (0) on, and the present monotonic time of its clock."""
    since = int(request.query_params.get("since", "0"))
    entries = [asdict(entry) for entry in islice(instance.log, since, None)]
    return {"now": time.monotonic(), "entries": entries}


async def _clear_log(_request: Request, instance: Instance) -> Any:
    instance.clear_log()
    return {"cleared": True}


async def _counts(_request: Request, instance: Instance) -> Any:
    return instance.counts()


async def _options(_request: Request, instance: Instance) -> Any:
    return asdict(instance.vendor.options)


async def _set_options(request: Request, instance: Instance) -> Any:
    changes = await _body(request)
    if not isinstance(changes, dict):
        raise ValueError("options are an object")
    instance.set_options(changes)
    return asdict(instance.vendor.options)


async def _faults(_request: Request, instance: Instance) -> Any:
    return {"faults": [{"path_prefix": f.path_prefix, "times": f.times, "fired": f.fired} for f in instance.faults]}


async def _add_faults(request: Request, instance: Instance) -> Any:
    instance.faults += faults.parse(await _body(request))
    return {"faults": len(instance.faults)}


async def _clear_faults(_request: Request, instance: Instance) -> Any:
    instance.faults.clear()
    return {"faults": 0}
