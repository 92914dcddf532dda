"""The web behind real reverse proxies on addresses that are not loopback: who asked, and by which scheme."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from provisioner.web.forwarded import client_of
from tests.cli.calling import environment, traitly, write_settings
from tests.e2e.printed_check import check
from tests.support.network import Got, Network, network, unshare
from tests.web.conftest import bearer, csrf_in

TOKEN = "operator-token-0123456789"
SHORT = "short-token"
SECRET = "a-secret-of-the-tests"
WEB, EDGE, INNER, FOREIGN = "10.9.0.2", "10.9.0.10", "10.9.0.11", "10.8.0.5"
# Within a network that ends at this machine. Addresses for documentation count as private
VENDOR, STRANGER, HOME = "5.6.7.8", "6.7.8.9", "7.8.9.10"
#: TLS ends at the edge, which hands on to an inner proxy; FOREIGN is a proxy that nobody trusts.
PROXIES = (
    (EDGE, f"{INNER}:80", "https"),
    (INNER, f"{WEB}:8080", ""),
    (FOREIGN, f"{WEB}:8080", "https"),
)
UNSHARE = unshare()
pytestmark = pytest.mark.skipif(UNSHARE is None, reason="this machine permits no network namespace")


@dataclass(frozen=True, slots=True)
class Street:
    """A web process with its proxies in front."""

    net: Network
    log: Path
    config: Path

    def ask(self, path: str, source: str, by: str = f"{EDGE}:80", **more: Any) -> Got:
        return self.net.ask(by, path, source=source, **more)

    def event(self, source: str, by: str = f"{EDGE}:80", **headers: str) -> int:
        """The status of an event's answer."""
        body = '{"event": "next_actions", "customer_id": "E1"}'
        more = {"method": "POST", "body": body, "headers": {"Content-Type": "application/json", **headers}}
        return self.ask(f"/webhooks/traitly/{SECRET}", source, by, **more).status

    def guess(self, source: str, token: str = "guess", by: str = f"{EDGE}:80") -> int:  # noqa: S107
        return self.ask("/api/runs", source, by, headers=bearer(token)).status


@pytest.fixture
def street(redis_url: str, tmp_path: Path) -> Iterator[Street]:
    assert UNSHARE is not None
    config = write_settings(
        tmp_path,
        redis_url=redis_url,
        targets={
            "traitly": {
                **traitly("http://127.0.0.1:9/traitly"),
                "webhook_secret": SECRET,
                "webhook_sources": [f"{VENDOR}/32"],
            }
        },
        web={
            "host": WEB,
            "port": 8080,
            "token": TOKEN,
            "users": [{"name": "vera", "token": SHORT}],
            "trusted_proxies": ["10.9.0.0/24"],
        },
    )
    log = tmp_path / "web.log"
    with network(UNSHARE) as net:
        net.add(*(f"{one}/32" for one in (WEB, EDGE, INNER, FOREIGN, VENDOR, STRANGER, HOME)))
        variables = environment(PROVISIONER_CONFIG=str(config))
        net.start([sys.executable, "-m", "provisioner", "web"], f"{WEB}:8080", log, **variables)
        for place, upstream, scheme in PROXIES:
            words = [sys.executable, "-m", "tests.support.reverse_proxy", f"{place}:80", upstream, place, scheme]
            net.start(words, f"{place}:80", tmp_path / "proxy.log")
        yield Street(net, log, config)


def test_only_a_trusted_proxy_says_who_asks_and_how(street: Street) -> None:
    # The vendor behind two proxies, and itself with what it is sent along
    taken = {street.event(VENDOR), street.event(VENDOR, **{"X-Forwarded-For": "10.9.0.77"})}
    assert taken <= {202, 422}, street.log.read_text()
    # Whoever writes the header themselves is still who they are
    assert street.event(STRANGER) == 404
    assert street.event(STRANGER, **{"X-Forwarded-For": VENDOR}) == 404
    assert street.event(STRANGER, **{"X-Forwarded-For": f"{VENDOR}, 10.9.0.99"}) == 404
    # Straight to the web, and by a proxy that nobody trusts
    for by in (f"{WEB}:8080", f"{FOREIGN}:80"):
        assert street.event(STRANGER, by, **{"X-Forwarded-For": VENDOR}) == 404
    assert street.event(VENDOR, f"{FOREIGN}:80") == 404
    assert street.event(VENDOR, f"{WEB}:8080") in taken
    assert street.log.read_text().count("forwarded_headers_ignored") == 1
    assert f'"{FOREIGN}"' in street.log.read_text()
    # Whoever looks later is told, as long as the settings do not name it
    told = [row.finding for row in check(street.config).rows if row.subject == "web"]
    assert [one for one in told if one.startswith(f"{FOREIGN} sends headers of a reverse proxy")], told


def test_cookie_and_headers_follow_the_scheme_of_the_browser(street: Street) -> None:
    page = street.ask("/sign-in", HOME)
    assert "secure" in page.headers["set-cookie"].lower()
    assert "strict-transport-security" in page.headers
    cookie = page.headers["set-cookie"].partition(";")[0]
    form = f"csrf={csrf_in(page.body)}&token={TOKEN}&next=/"
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    signed_in = street.ask("/sign-in", HOME, method="POST", body=form, headers=headers)
    assert signed_in.status == 303, signed_in.body
    assert "secure" in signed_in.headers["set-cookie"].lower()
    claimed = {"X-Forwarded-Proto": "https"}
    for by in (f"{WEB}:8080", f"{FOREIGN}:80"):
        page = street.ask("/sign-in", STRANGER, by, headers=claimed)
        assert "secure" not in page.headers["set-cookie"].lower()
        assert "strict-transport-security" not in page.headers
    # Plain http that ends at a trusted proxy stays plain, whatever the browser claims
    assert "strict-transport-security" not in street.ask("/sign-in", HOME, f"{INNER}:80").headers


def test_guesses_lock_nobody_else_out_and_no_right_token(street: Street) -> None:
    assert [street.guess(STRANGER) for _ in range(7)] == [401] * 6 + [429]
    assert street.guess(STRANGER) == 429
    # Others behind the same proxy are others
    assert street.guess(HOME) == 401
    assert street.guess(HOME, SHORT) == 200
    # Nobody can guess the operator's, so it is taken even where the guesses came from
    assert street.guess(STRANGER, TOKEN) == 200
    # A short one could be guessed, and waits like the guesses
    assert street.guess(STRANGER, SHORT) == 429
    # By a proxy that is not trusted all share one address, and still nobody is locked out
    for _ in range(7):
        street.guess(STRANGER, by=f"{FOREIGN}:80")
    assert street.guess(HOME, by=f"{FOREIGN}:80") == 429
    assert street.guess(HOME, TOKEN, by=f"{FOREIGN}:80") == 200


TRUSTED = tuple(ip_network(one) for one in ("10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proto", "found"),
    [
        ("203.0.113.7", ["192.0.2.1"], ["https"], ("203.0.113.7", None)),
        ("10.0.0.1", [], ["https"], ("10.0.0.1", "https")),
        ("10.0.0.1", ["203.0.113.7"], ["HTTPS"], ("203.0.113.7", "https")),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.7"], ["https"], ("203.0.113.7", "https")),
        ("10.0.0.1", ["6.6.6.6", "203.0.113.7, 10.0.0.2"], ["https"], ("203.0.113.7", "https")),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], ["http"], ("10.0.0.3", "http")),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], ["https, http"], ("203.0.113.7", "https")),
        ("10.0.0.1", ["203.0.113.7"], ["https, http"], ("203.0.113.7", "http")),
        ("10.0.0.1", ["6.6.6.6, unknown"], ["https"], ("10.0.0.1", "https")),
        ("10.0.0.1", ["6.6.6.6, , 203.0.113.7,"], ["ftp"], ("203.0.113.7", None)),
        ("10.0.0.1", ["203.0.113.7:4711"], [], ("203.0.113.7", None)),
        ("10.0.0.1", ['"[2001:db8::1]:4711"'], [], ("2001:db8::1", None)),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.7"], [], ("203.0.113.7", None)),
        ("fd00::1", ["2001:db8::1"], ["https"], ("2001:db8::1", "https")),
        ("testclient", ["203.0.113.7"], ["https"], ("testclient", None)),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_is_the_client(
    peer: str, forwarded_for: list[str], proto: list[str], found: tuple[str, str | None]
) -> None:
    assert client_of(peer, forwarded_for, proto, TRUSTED) == found
