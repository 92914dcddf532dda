"""The HTTP clients of one process: several, because one that has many connections is slow."""

from __future__ import annotations

from typing import Final, Self

import httpx

from provisioner.targets.http import Client, new_client


class Clients:
    """The HTTP clients of one process, made as they are needed.

    A client looks through all of its connections when a request begins and when it ends. With a hundred of them that
    takes longer than the request, so senders share a client by the dozen.
    """

    #: Senders that share a client.
    TOGETHER: Final = 12

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()
        self._clients: list[Client] = []

    def of(self, sender: int) -> Client:
        """The client of one of the senders, who are numbered from 0 on."""
        while len(self._clients) <= sender // self.TOGETHER:
            self._clients.append(new_client(self._tls))
        return self._clients[sender // self.TOGETHER]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()
