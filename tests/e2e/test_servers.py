"""Whole deployments on each kind of Redis: every server that is here, ACL users, TLS, clocks that are hours off.

`PROVISIONER_TEST_REDIS_SERVERS` names further servers, with a colon between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.decisions.conftest import company
from tests.e2e.printed_check import check
from tests.e2e.site import BY_HAND, Site, sandbox
from tests.support.fake_clock import our_clock
from tests.support.harness import raise_limits
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.tcp_servers import DURABLE, PASSWORD, TcpServer, certificates, servers, with_tls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TARGET: Final = "traitly"
PEOPLE: Final = 12


class Address:
    """What a site needs to know of a server: where the tests look into it."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture(scope="module")
def board() -> Iterator[str]:
    with sandbox() as url:
        yield url


@contextmanager
def working(
    folder: Path, board: str, admin: str, *, variables: Mapping[str, str] | None = None, **changes: Any
) -> Iterator[Site]:
    """A deployment with a worker; `admin` is where the tests look into Redis, `variables` go to all its processes."""
    site = Site(folder, Address(admin), board, only=(TARGET,), schedule=BY_HAND, **changes)  # type: ignore[arg-type]
    site.environment |= variables or {}
    site.switchboard.reset()
    raise_limits(site.switchboard)
    site.roster.write_text(company(PEOPLE))
    worker = site.start_worker()
    try:
        yield site
    finally:
        worker.stop()


def joins_and_leaves(site: Site) -> None:
    """Everybody joins, somebody leaves, and `check` finds nothing to fix."""
    assert site.call("sync", "--wait")["targets"][TARGET]["succeeded"]["create"] == PEOPLE
    site.roster.write_text(company(PEOPLE, gone=(1,)))
    assert site.call("sync", "--wait")["targets"][TARGET]["succeeded"]["leave"] == 1
    plans = {one["customer_id"]: one["plan"] for one in site.switchboard.accounts(TARGET)}
    assert [person for person, plan in plans.items() if plan == "Leaver"] == ["W0001"]
    printed = check(site.config)
    assert printed.code == 0, printed.out
    assert [one for one in printed.rows if one.verdict == "fail"] == []


@pytest.mark.parametrize("executable", servers(), ids=str)
def test_every_server_that_is_here(
    executable: Path, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONER_TEST_REDIS_SERVER", str(executable))
    with RedisServer(append_only=True) as own, working(tmp_path, board, own.url, redis_url=own.url) as site:
        joins_and_leaves(site)
        named = site.contents.server_name()
        assert [one for one in check(site.config).rows if one.finding.startswith(f"{named} answers at ")]


def test_a_user_with_the_rights_that_the_message_names(board: str, tmp_path: Path) -> None:
    with RedisServer(append_only=True) as own:
        own.set_user("provisioner", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-@admin", "+info", "+config|get")
        url = own.url.replace("unix://", f"unix://provisioner:{PASSWORD}@")
        with working(tmp_path, board, own.url, redis_url=url) as site, site.running("beat"):
            joins_and_leaves(site)
            site.call("backup", str(tmp_path / "backup.gz"))


#: TLS set-ups that do not work → what is said.
WRONG_TLS: Final = {
    "rediss://:{password}@127.0.0.1:{tls}/0": "an authority that this machine does not know",
    "rediss://:{password}@127.0.0.1:{tls}/0?ssl_ca_certs={other}": "an authority that this machine does not know",
    "rediss://:{password}@127.0.0.1:{tls}/0?ssl_ca_certs={ca}.gone": "Correct ssl_ca_certs",
    "rediss://:{password}@localhost:{tls}/0?ssl_ca_certs={ca}": "a certificate of another name",
    "redis://:{password}@127.0.0.1:{tls}/0": "If it wants TLS at this port, write rediss://",
    "rediss://:{password}@127.0.0.1:{plain}/0?ssl_ca_certs={ca}": "If it speaks no TLS at this port, write redis://",
}


def test_an_authority_of_ones_own(board: str, tmp_path: Path) -> None:
    executable, made = with_tls(), certificates(tmp_path)
    if executable is None or made is None:
        pytest.skip("no server with TLS on the PATH, or no openssl")
    tls, plain = free_port(), free_port()
    words = ("--port", str(plain), "--tls-port", str(tls), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(made["server"]), "--tls-key-file", str(made["server"].with_suffix(".key")))
    ca = ("--tls-ca-cert-file", str(made["ca"]))
    with TcpServer(tmp_path / "redis", tls, *words, *files, *ca, *DURABLE, executable=executable):
        admin = f"redis://:{PASSWORD}@127.0.0.1:{plain}/0"
        url = f"rediss://:{PASSWORD}@127.0.0.1:{tls}/0?ssl_ca_certs={made['ca']}"
        with working(tmp_path, board, admin, redis_url=url) as site, site.running("beat"):
            joins_and_leaves(site)
        for address, words_ in WRONG_TLS.items():
            given = address.format(password=PASSWORD, tls=tls, plain=plain, ca=made["ca"], other=made["other"])
            wrong = Site(tmp_path, Address(admin), board, only=(TARGET,), schedule=BY_HAND, redis_url=given)  # type: ignore[arg-type]
            printed = check(wrong.config)
            assert printed.code == 1, (address, printed.out)
            assert words_ in " ".join(printed.out.split()), (address, printed.out)
            assert PASSWORD not in printed.out


@pytest.mark.parametrize(("hours", "side"), [(5, "behind"), (-5, "ahead of")])
def test_clocks_that_are_hours_off(board: str, tmp_path: Path, hours: int, side: str) -> None:
    fake = our_clock(hours * 3600)
    with RedisServer(append_only=True) as own, working(tmp_path, board, own.url, variables=fake) as site:
        # Leases, rates and days are those of Redis's clock
        joins_and_leaves(site)
        lines = [line for line in site.call("check")["checks"] if line["subject"] == "clock"]
    assert [line["verdict"] for line in lines] == ["warn"]
    assert lines[0]["message"].endswith(f" s {side} this machine's.")
    assert "NTP" in lines[0]["remedy"]
