"""What programs may ask, and what they are told when they may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.web import request_bodies
from tests.decisions.conftest import company
from tests.reviewed.support import written
from tests.web.conftest import OPERATOR, VIEWER, Site, bearer


def is_problem(answer: object, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text  # type: ignore[attr-defined]
    assert answer.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    body: dict[str, object] = answer.json()  # type: ignore[attr-defined]
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    return body


def active(site: Site) -> set[str]:
    return {one["user_name"] for one in site.switchboard.accounts("tribal_habits") if one["active"]}


def test_without_a_token_there_is_nothing_but_health(make_site: Callable[..., Site]) -> None:
    site = make_site(web={})
    for path in ("/", "/api/runs", "/metrics", "/sign-in", "/static/page.css", "/api/openapi.json"):
        is_problem(site.get(path), 404)
    assert site.get("/healthz").status_code == 200


def test_tokens_and_roles(site: Site) -> None:
    missing = site.get("/api/runs", token=None)
    is_problem(missing, 401)
    assert missing.headers["www-authenticate"].startswith("Bearer")
    is_problem(site.get("/api/runs", token="wrong"), 401)
    is_problem(site.client.get("/api/runs", headers={"Authorization": f"Basic {OPERATOR}"}), 401)
    assert site.get("/api/runs", token=VIEWER).status_code == 200
    is_problem(site.post("/api/runs", {}, token=VIEWER), 403)
    assert site.get("/metrics", token=None).status_code == 401
    assert site.get("/metrics", token=VIEWER).status_code == 200


def test_wrong_tokens_make_their_address_wait(site: Site) -> None:
    for _ in range(6):
        is_problem(site.get("/api/runs", token="guess"), 401)
    waiting = site.get("/api/runs", token="guess")
    assert is_problem(waiting, 429)["code"] == "too_many_tries"
    assert int(waiting.headers["retry-after"]) >= 1
    # What nobody can guess is taken at once
    assert site.get("/api/runs").status_code == 200


def test_a_run_is_asked_for_listed_and_shown(site: Site) -> None:
    site.roster.write_text(company(3))
    answer = site.post("/api/runs", {})
    assert answer.status_code == 202
    run = answer.json()["run"]
    # Queued still, so a plain request joins it
    assert site.post("/api/runs").json() == {"run": run}
    assert site.get(f"/api/runs/{run}").json()["status"] == "running"
    done = site.sync()
    assert done["run"] == run
    shown = site.get(f"/api/runs/{run}").json()
    assert shown["targets"]["tribal_habits"]["succeeded"]["create"] == 3
    assert shown["trigger"] == "api"
    assert [one["run"] for one in site.get("/api/runs").json()["runs"]] == [run]
    operations = site.get(f"/api/runs/{run}/operations?kind=create&status=succeeded").json()
    assert {one["person"] for one in operations["operations"]} == {"W0000", "W0001", "W0002"}
    assert operations["next"] is None
    assert site.get(f"/api/runs/{run}/operations?status=failed").json()["operations"] == []


def test_lists_are_paged(site: Site) -> None:
    site.roster.write_text(company(7))
    runs = [site.sync()["run"] for _ in range(3)]
    first = site.get("/api/runs?limit=2").json()
    assert [one["run"] for one in first["runs"]] == [runs[2], runs[1]]
    second = site.get(first["next"]).json()
    assert ([one["run"] for one in second["runs"]], second["next"]) == ([runs[0]], None)
    path, people = f"/api/runs/{runs[0]}/operations?limit=3&kind=create", []
    while path:
        page = site.get(path).json()
        assert len(page["operations"]) <= 3
        people += [one["person"] for one in page["operations"]]
        path = page["next"]
    assert sorted(people) == [f"W{number:04d}" for number in range(7)]


def test_an_idempotency_key_asks_once(site: Site) -> None:
    site.roster.write_text(company(2))
    body = {"people": ["W0000"]}
    first = site.post("/api/runs", body, **{"Idempotency-Key": "abc"}).json()
    assert site.post("/api/runs", body, **{"Idempotency-Key": "abc"}).json() == first
    assert site.post("/api/runs", body, **{"Idempotency-Key": "other"}).json() != first
    is_problem(site.post("/api/runs", {"people": ["W0001"]}, **{"Idempotency-Key": "abc"}), 422)
    is_problem(site.post("/api/runs", body, **{"Idempotency-Key": "x" * 256}), 422)
    assert len(site.get("/api/runs").json()["runs"]) == 2


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"targets": ["nowhere"]}', "application/json", 422),
        (b'{"targets": []}', "application/json", 422),
        (b'{"target": ["tribal_habits"]}', "application/json", 422),
        (b"[1]", "application/json", 422),
        (b"{", "application/json", 422),
        (b'{"people": ["\\ud800"]}', "application/json", 422),
        (b"targets=all", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b'"' + b"x" * 1024**2 + b'"', "application/json", 413),
    ],
)
def test_bodies_that_make_no_sense(site: Site, content: bytes, kind: str, status: int) -> None:
    answer = site.client.post("/api/runs", content=content, headers={**bearer(OPERATOR), "Content-Type": kind})
    is_problem(answer, status)
    assert site.get("/api/runs").json()["runs"] == []


def test_what_does_not_exist(site: Site) -> None:
    for path in ("/api/runs/nowhere", "/api/runs/a:b", "/api/people/nobody", "/api/nothing", "/api/runs/x/operations"):
        is_problem(site.get(path), 404)
    is_problem(site.post("/api/runs/nowhere/approve", {"all": True}), 404)
    is_problem(site.client.delete("/api/runs", headers=bearer(OPERATOR)), 405)
    is_problem(site.get("/api/runs?limit=0"), 422)
    site.roster.write_text(company(1))
    run = site.sync()["run"]
    is_problem(site.get(f"/api/runs/{run}/operations?after=elsewhere"), 422)
    is_problem(site.get(f"/api/runs/{run}/operations?target=elsewhere"), 422)
    # Parts of a run lie under keys that begin with its own
    is_problem(site.get(f"/api/runs/{run}:t:tribal_habits"), 404)


def test_some_are_approved_some_rejected_and_the_rest_stays(site: Site) -> None:
    run = site.held()["run"]
    approve, reject = f"/api/runs/{run}/approve", f"/api/runs/{run}/reject"
    is_problem(site.post(approve, {"all": True}, token=VIEWER), 403)
    is_problem(site.post(approve, {}), 422)
    is_problem(site.post(approve, {"all": True, "people": ["W0000"]}), 422)
    is_problem(site.post(approve, {"people": ["W0019"]}), 409)
    answer = site.post(approve, {"people": ["W0000", "W0001"], "reason": "known"})
    assert answer.status_code == 200
    assert [one["person"] for one in answer.json()["done"]] == ["W0000", "W0001"]
    assert site.post(reject, {"people": ["W0002"], "target": "tribal_habits"}).status_code == 200
    site.drain()
    assert active(site) == {f"W{number:04d}" for number in (2, 3, 4, *range(5, 20))}
    assert site.get(f"/api/runs/{run}").json()["targets"]["tribal_habits"]["held"] == {"leave": 2}
    held = site.get(f"/api/runs/{run}/operations?status=held").json()["operations"]
    assert [one["person"] for one in held] == ["W0003", "W0004"]
    assert site.post(approve, {"all": True}).status_code == 200
    is_problem(site.post(approve, {"all": True}), 409)


def test_what_is_no_longer_wanted_is_not_approved(site: Site) -> None:
    run = site.held()["run"]
    site.roster.write_text(company(20))
    site.sync()
    refused = is_problem(site.post(f"/api/runs/{run}/approve", {"all": True}), 409)
    assert "no longer wants it" in str(refused["refused"])
    site.drain()
    assert len(active(site)) == 20


def test_failed_operations_are_sent_again(site: Site) -> None:
    site.roster.write_text(company(3))
    fault = {"match": {"method": "POST"}, "times": None, "status": 422, "body": {"message": "no"}}
    site.switchboard.fault("tribal_habits", **fault)
    run = site.sync()["run"]
    assert {one["error"]["code"] for one in site.get(f"/api/runs/{run}/operations?status=failed").json()["operations"]}
    site.switchboard.clear_faults("tribal_habits")
    assert len(site.post(f"/api/runs/{run}/retry").json()["done"]) == 3
    site.drain()
    assert site.get(f"/api/runs/{run}").json()["status"] == "succeeded"
    is_problem(site.post(f"/api/runs/{run}/retry"), 409)


def test_a_person(site: Site) -> None:
    site.roster.write_text(company(2))
    site.sync()
    story = site.get("/api/people/W0001").json()
    assert story["roster"]["row"]["work_email"] == "p1@example.com"
    assert story["targets"]["tribal_habits"]["link"]["state"] == "active"
    assert [one["kind"] for one in story["operations"]] == ["create"]


def test_a_pushed_roster_is_used_until_the_url_changes(site: Site) -> None:
    site.roster.write_text(company(1))
    content = company(4).encode()
    answer = site.client.put("/api/roster", content=content, headers=bearer(OPERATOR))
    assert answer.status_code == 202
    assert answer.json()["digest"].startswith("sha256:")
    pushed = site.carry_out(answer.json()["run"])
    assert (pushed["roster"]["people"], pushed["roster"]["digest"]) == (4, answer.json()["digest"])
    done = site.sync()
    assert (done["roster"]["source"]["kind"], done["roster"]["people"]) == ("push", 4)
    is_problem(site.client.put("/api/roster", content=b"", headers=bearer(OPERATOR)), 422)
    is_problem(site.client.put("/api/roster", content=content, headers=bearer(VIEWER)), 403)


def test_a_roster_that_is_too_large_is_not_kept(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del tmp_path
    monkeypatch.setattr(request_bodies, "LARGEST_ROSTER", 1000)
    is_problem(site.client.put("/api/roster", content=b"x" * 1001, headers=bearer(OPERATOR)), 413)

    def pieces() -> object:
        yield from [b"x" * 600] * 2

    streamed = site.client.put("/api/roster", content=pieces(), headers=bearer(OPERATOR))
    is_problem(streamed, 413)
    assert site.work(lambda dep: dep.frames.pushed()) is None


def test_every_answer_is_documented(site: Site) -> None:
    document = site.get("/api/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/runs",
        "/api/runs/{run}",
        "/api/runs/{run}/operations",
        "/api/runs/{run}/approve",
        "/api/runs/{run}/reject",
        "/api/runs/{run}/retry",
        "/api/people/{key}",
        "/api/roster",
        "/api/todos",
    }
    for methods in document["paths"].values():
        for method in methods.values():
            assert {"401", "429", "503"} <= method["responses"].keys()
            for status, answer in method["responses"].items():
                assert list(answer["content"]) == ["application/json" if status < "300" else "application/problem+json"]


def test_redis_away(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(redis=f"unix://{tmp_path}/nothing.sock?db=0")
    answer = site.get("/api/runs")
    assert "nothing was done" in str(is_problem(answer, 503)["detail"])
    assert answer.headers["retry-after"]
    page = site.client.get("/sign-in")
    assert page.status_code == 503
    assert "Redis does not answer" in page.text


def test_a_reviewed_plan_is_applied_by_its_digest(site: Site) -> None:
    site.roster.write_text(company(3))
    file = site.work(written)
    site.roster.write_text(company(4, changes={1: {"last_name": "Other"}}))
    answer = site.post("/api/runs", {"plan": file["digest"]})
    assert answer.status_code == 202
    run = answer.json()["run"]
    site.carry_out(run)
    document = site.get(f"/api/runs/{run}").json()
    assert document["reviewed"] == file["digest"]
    assert [one["person"] for one in document["left_out"]] == ["W0001"]
    assert active(site) == {"W0000", "W0002"}
    unknown = is_problem(site.post("/api/runs", {"plan": f"sha256:{'0' * 64}"}), 422)
    assert unknown["code"] == "unknown_plan"
    is_problem(site.post("/api/runs", {"plan": "newest"}), 422)
    is_problem(site.post("/api/runs", {"plan": file["digest"], "targets": ["tribal_habits"]}), 422)


def test_a_run_is_taken_back(site: Site) -> None:
    site.roster.write_text(company(3))
    site.sync()
    site.roster.write_text(company(5))
    made = site.sync()
    assert len(active(site)) == 5
    answer = site.post("/api/runs", {"undo": made["run"], "people": ["W0004"]})
    assert answer.status_code == 202
    run = answer.json()["run"]
    site.carry_out(run)
    assert active(site) == {"W0000", "W0001", "W0002", "W0003"}
    document = site.get(f"/api/runs/{run}").json()
    assert document["trigger"] == "undo"
    assert document["undo"] == {"run": made["run"], "force_drift": False}
    assert [one["person"] for one in document["stays"] if one["kind"] == "create"] == ["W0004"]
    assert is_problem(site.post("/api/runs", {"undo": "20990101-000000"}), 422)["code"] == "nothing_to_undo"
    is_problem(site.post("/api/runs", {"undo": run, "roster": "https://example.com/x.csv"}), 422)
    is_problem(site.post("/api/runs", {"force_drift": True}), 422)
