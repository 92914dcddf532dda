"""One sandbox for all these tests; every test has instances of its own, so nothing has to be reset."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import httpx
import pytest

from provisioner.sandbox import HABITATE_KEY, MTRIBES_TOKEN, TRAITLY_TOKEN, TRIBAL_HABITS_KEY, SandboxServer
from tests.sandbox.vendor import Vendor

_numbers = count(1)
# Loopback speaks no TLS; loading the certificates again for each client would be most of a test's time.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxServer]:
    """The running sandbox."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def new_vendor(sandbox: SandboxServer) -> Iterator[Callable[[str], Vendor]]:
    """Makes a fresh instance of a kind with a client that holds the right credentials."""
    with ExitStack() as stack:

        def make(kind: str) -> Vendor:
            name = f"{kind}-test{next(_numbers)}"
            auth = httpx.BasicAuth("provisioner", HABITATE_KEY) if kind == "habitate" else None
            headers = {
                "tribal_habits": {"Authorization": TRIBAL_HABITS_KEY},
                "habitate": {},
                "traitly": {"Authorization": f"Token {TRAITLY_TOKEN}", "Content-Type": "application/json"},
                "mtribes": {"Authorization": f"Bearer {MTRIBES_TOKEN}"},
            }[kind]
            client = stack.enter_context(
                httpx.Client(base_url=sandbox.url_of(name), headers=headers, auth=auth, trust_env=False, verify=NO_TLS)
            )
            vendor = Vendor(name, client, sandbox.switchboard)
            vendor.options(rate_limit=100_000)
            return vendor

        yield make


@pytest.fixture
def tribal_habits(new_vendor: Callable[[str], Vendor]) -> Vendor:
    return new_vendor("tribal_habits")


@pytest.fixture
def habitate(new_vendor: Callable[[str], Vendor]) -> Vendor:
    return new_vendor("habitate")


@pytest.fixture
def traitly(new_vendor: Callable[[str], Vendor]) -> Vendor:
    return new_vendor("traitly")


@pytest.fixture
def mtribes(new_vendor: Callable[[str], Vendor]) -> Vendor:
    return new_vendor("mtribes")
