"""A small company, its four stand-ins, a web server that takes their webhooks, and bodies as the vendors print them."""

from __future__ import annotations

import copy
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from provisioner.events.process import Worked, work
from provisioner.runtime.context import Deployment
from provisioner.sandbox.client import Switchboard
from provisioner.sandbox.server import SandboxServer
from provisioner.settings import Settings
from provisioner.store.stores import Stores
from provisioner.web.api.webhooks import webhooks
from provisioner.worker.run_steps import carry_through
from tests.support.harness import drain, load_settings, raise_limits, settings_document
from tests.support.meddling import new_client

SECRET: Final = "a-secret-of-the-tests"
TARGETS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
HEADER: Final = (
    "employee_id,first_name,last_name,work_email,manager_email,department,job_title,location,country,"
    "employment_status,start_date,end_date,language"
)
PEOPLE: Final = (
    "W1,Ada,Ng,ada@example.com,,Sales,Sales Manager,Sydney,Australia,active,2020-01-01,,en",
    "W2,Ben,Ito,ben@example.com,ada@example.com,Engineering,Engineer,Sydney,Australia,active,2020-01-01,,en",
    "W3,Cleo,Ray,cleo@example.com,ada@example.com,Finance,Analyst,Perth,Australia,active,2020-01-01,,en",
    "W4,Dan,Roe,dan@example.com,ada@example.com,Support,Agent,Perth,Australia,left,2020-01-01,,en",
)
ROUTES: Final = (
    {"on": "tribal_habits.enrolment_completed", "to": "traitly.event", "name": "'Completed ' || knowledge_title"},
    {
        "on": "tribal_habits.enrolment_completed",
        "when": "knowledge_type = 'topic'",
        "to": "mtribes.tag",
        "name": "'learning/completed'",
    },
)


@dataclass(frozen=True, slots=True)
class Company:
    """What a test works with."""

    settings: Settings
    sandbox: SandboxServer
    folder: Path

    @property
    def switchboard(self) -> Switchboard:
        return self.sandbox.switchboard

    def roster(self, *rows: str) -> None:
        """Write the roster again."""
        (self.folder / "roster.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")

    def events(self) -> list[tuple[str, str]]:
        """Customer and name of Traitly's events, but for those of joining."""
        events = self.switchboard.state("traitly")["events"]
        return sorted((one["customer_id"], one["name"]) for one in events if one["name"] != "Onboarded")

    def tags(self) -> dict[str, list[str]]:
        """The tags of everybody in mtribes."""
        return {one["id"]: sorted(one["tags"]) for one in self.switchboard.accounts("mtribes")}


@contextmanager
def company(folder: Path, redis_url: str, **changes: Any) -> Iterator[Company]:
    """The stand-ins, and settings aimed at them; `changes` as in `settings_document`."""
    with SandboxServer() as sandbox:
        raise_limits(sandbox.switchboard)
        document = settings_document(
            sandbox.url, redis_url, folder / "roster.csv", folder / "data", **{"events": list(ROUTES), **changes}
        )
        document["roster"]["gate"] = {"max_age": "3650d"}
        # So few people that a second change would be half of them
        document["guards"] = {"updates": {"percent": 100}, "leavers": {"percent": 100}}
        for name in TARGETS:
            document["targets"][name] |= {"webhook_secret": SECRET, **changes.get(f"target_{name}", {})}
        for name in [name for name in document if name.startswith("target_")]:
            del document[name]
        made = Company(load_settings(folder, document), sandbox, folder)
        made.roster(*PEOPLE)
        yield made


def _app(settings: Settings) -> FastAPI:
    clients: list[Any] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        assert settings.redis_url is not None
        clients.append(new_client(settings.redis_url.get_secret_value()))
        yield
        await clients[0].aclose()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.include_router(webhooks(settings, lambda: Stores.on(clients[0])))
    return app


@contextmanager
def web(settings: Settings) -> Iterator[str]:
    """The web server in a thread; its address."""
    # With the protocol named, so that asyncio does not let answers wait for the client's acknowledgement
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(200)
    config = uvicorn.Config(_app(settings), access_log=False, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def listens(port: int) -> bool:
    """Whether somebody does now."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def post(url: str, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """POST to the web server; status and body of the answer."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def handled(dep: Deployment) -> Worked:
    """Handle all events that wait, and deliver what they brought about; what was done."""
    done = await work(dep)
    for run in done.runs:
        await carry_through(dep, run, stopped=lambda: False)
    await drain(dep)
    return done


def enrolment(number: int, user_name: str = "W1", event: str = "enrolment_completed", **changes: Any) -> dict[str, Any]:
    """A topic's webhook as "Webhook Enrolments" prints it; `changes` are fields of its data."""
    data = {
        "account_id": 3516,
        "user_name": user_name,
        "email": f"{user_name}@example.com",
        "first_name": "Adam",
        "last_name": "Anderson",
        "enrolled_date": "2024-04-09T09:39:16.688+10:00",
        "due_date": None,
        "updated_date": "2024-04-09T09:39:32.380+10:00",
        "completed_date": "2024-04-09T09:39:32.353+10:00",
        "certified_date": None,
        "enrolled_by": "Manual enrolment by ",
        "progress": "completed",
        "status": "current",
        "recertification_allowed": True,
        "Color": "Blue",
        "Car Model": "Hyundai;Audi",
        "skills_attained": [{"skill_id": 8, "skill_code": "COM", "skill_name": "Compliance"}],
        "enrolment_relationship": "Explorer",
        "knowledge_type": "topic",
        "knowledge_id": 278,
        "knowledge_external_id": "123",
        "knowledge_title": "Countries",
        "length_minutes": 1,
        "version": "1.0",
        "certificate_id": "4-3516-1841",
        "categories_all": "Sales, HR",
    }
    data |= changes
    return {"enrolment_id": number, "org_id": 4, "org_domain": "my_org", "event": event, "enrolment_data": data}


_JOINED: Final[Mapping[str, Any]] = {
    "event": "member.joined",
    "job_id": 164,
    "entities": {
        "user": [
            {
                "sid": "JO7Rv1B4bEBUawd3d2DXsE2DA",
                "msid": "206.JO7Rv1B4bEBUawd3d2DXsE2DA",
                "email": "sample@example.com",
                "role_id": 4,
                "user_id": 206,
                "username": "sample",
                "last_name": "free",
                "created_at": "2022-09-14T06:16:26Z",
                "first_name": "Sample",
                "user_avatar": "string",
                "user_status": 10,
            }
        ]
    },
}


def joined(job: int = 164, **changes: Any) -> dict[str, Any]:
    """A member's webhook as habitate's page prints it; `changes` are fields of the member."""
    body = copy.deepcopy(dict(_JOINED))
    body["job_id"] = job
    body["entities"]["user"][0] |= changes
    return body


def next_actions(customer: str = "W1", timestamp: int = 123456789) -> dict[str, Any]:
    """Recommended next actions as Traitly's page prints them."""
    action = {
        "event_name": "Style Widget",
        "goal_num_completed": 0,
        "total_num_completed": 4,
        "goal_days_left": 14,
        "importance": 0.4,
        "message_plaintext": "It's time to complete...",
        "message_html": "<p>It's time to complete...</p>",
    }
    return {
        "data": [action, {**action, "event_name": "Share Widget", "importance": 0.9}],
        "meta": {"customer_id": customer, "goal_name": "30-day Conversion"},
        "timestamp": timestamp,
        "object": "recommended-next-actions",
    }


def propensity(likelihood: float, customer: str = "W1", timestamp: int = 123456789) -> dict[str, Any]:
    """A changed propensity as Traitly's page prints it."""
    return {
        "data": [{"likelihood": likelihood}],
        "meta": {"customer_id": customer, "goal_name": "30-day Conversion"},
        "timestamp": timestamp,
        "object": "goal-propensity-change",
    }
