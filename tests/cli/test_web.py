"""Health over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from provisioner.settings import load
from provisioner.web.app import create_app
from tests.cli.calling import write_settings


def test_health_and_readiness(redis_url: str, tmp_path: Path) -> None:
    settings = load(write_settings(tmp_path, redis_url=redis_url), environ={}).settings
    with TestClient(create_app(settings)) as client:
        assert client.get("/healthz").json() == {"status": "up"}
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {"status": "ready", "beat": "never", "workers": "never"}
        assert client.get("/readyz?only=redis").json() == {"status": "ready"}
        assert client.get("/readyz?only=beat").status_code == 422


def test_not_ready_without_redis_but_alive(tmp_path: Path) -> None:
    settings = load(write_settings(tmp_path), environ={}).settings
    with TestClient(create_app(settings)) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Redis" in answer.json()["detail"]
        assert client.get("/readyz?only=redis").status_code == 503
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/runs", "/docs", "/openapi.json"])
def test_nothing_else_is_here(path: str, tmp_path: Path) -> None:
    settings = load(write_settings(tmp_path), environ={}).settings
    with TestClient(create_app(settings)) as client:
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "/healthz" in answer.json()["detail"]


def test_a_wrong_method_says_which_are_right(tmp_path: Path) -> None:
    settings = load(write_settings(tmp_path), environ={}).settings
    with TestClient(create_app(settings)) as client:
        answer = client.post("/healthz")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
        assert answer.json()["status"] == 405
