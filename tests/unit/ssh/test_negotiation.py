"""A server that has no algorithm in common with us is told apart from one that does not answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from paramiko import ECDSAKey, ServerInterface, Transport

from meshfab.errors import ConnectError
from meshfab.ssh.connection import connect, ensure_open
from meshfab.ssh.negotiation import NegotiatingTransport, NoCommonAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

KEY = ECDSAKey.generate()


class Renamed(NegotiatingTransport):
    """A server whose algorithms have names that no client of ours knows."""

    renamed: tuple[str, str] = ("", "")

    def _send_kex_init(self) -> None:
        kind, name = self.renamed
        known = getattr(self, f"_preferred_{kind}")
        # paramiko filters the lists by what it can do only when it has received those of the other side.
        setattr(self, f"_preferred_{kind}", (name,))
        super()._send_kex_init()  # type: ignore[misc]
        setattr(self, f"_preferred_{kind}", known)


@contextmanager
def negotiated(server: Transport, ours: socket.socket) -> Iterator[NegotiatingTransport]:
    server.add_server_key(KEY)
    client = NegotiatingTransport(ours)
    started = threading.Event()
    server.start_server(event=started, server=ServerInterface())
    try:
        yield client
    finally:
        client.close()
        server.close()


def test_a_server_that_offers_curve25519_by_its_standard_name_only_is_understood() -> None:
    ours, theirs = socket.socketpair()
    server = NegotiatingTransport(theirs)
    server._preferred_kex = ("curve25519-sha256",)
    with negotiated(server, ours) as client:
        client.start_client(timeout=30)
        assert client.get_remote_server_key() == KEY


@pytest.mark.parametrize(
    ("kind", "option"),
    [("kex", "KexAlgorithms"), ("keys", "HostKeyAlgorithms"), ("ciphers", "Ciphers"), ("macs", "MACs")],
)
def test_the_algorithms_that_a_server_offers_are_named(kind: str, option: str) -> None:
    ours, theirs = socket.socketpair()
    server = Renamed(theirs)
    server.renamed = (kind, "of-tomorrow@example.org")
    server.server_key_dict["of-tomorrow@example.org"] = KEY  # a key type is offered only with a key of it
    with negotiated(server, ours) as client, pytest.raises(NoCommonAlgorithm) as caught:
        client.start_client(timeout=30)
    assert caught.value.option == option
    assert f"{option} are of-tomorrow@example.org, none of which" in str(caught.value)
    assert caught.value.supported


def test_the_operator_is_told_what_to_allow(mocker: MockerFixture, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    offered = ["sntrup761x25519-sha512"] * 100 + ["x" * 5000]
    error = NoCommonAlgorithm("KexAlgorithms", offered, ["curve25519-sha256", "ecdh-sha2-nistp256"])
    mocker.patch("fabric.Connection.open", side_effect=error)
    with pytest.raises(ConnectError, match="sntrup761x25519-sha512, none of which is supported") as caught:
        ensure_open(connect("h2"))
    assert caught.value.remedy == (
        "allow one of curve25519-sha256, ecdh-sha2-nistp256 with KexAlgorithms in its sshd_config"
    )
    assert len(str(caught.value)) < 600
