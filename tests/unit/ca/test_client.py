"""The CA's client trusts the operator's root, keeps its connection, and takes no answer at its word."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.ca.client import CaClient, read_root
from meshfab.errors import InputError, MintError
from tests.support.certificates import pem_of
from tests.support.fake_ca import FakeCa, issue

if TYPE_CHECKING:
    from pathlib import Path


def echo(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"method": method, "path": path, "body": body}


def test_requests_of_a_run_share_a_connection() -> None:
    ca = FakeCa(echo)
    client = ca.client
    assert client.get("/health").body == {"method": "GET", "path": "/health", "body": {}}
    assert client.post("/1.0/sign", {"a": "b"}).body["body"] == {"a": "b"}
    assert ca.connections == 1
    client.close()
    client.get("/health")
    assert ca.connections == 2
    client.close()


def test_a_kept_connection_that_the_ca_has_closed_is_opened_again() -> None:
    ca = FakeCa(echo)
    client = ca.client
    client.get("/health")
    client._idle[0].sock.shutdown(socket.SHUT_RDWR)
    assert client.post("/1.0/sign", {}).status == 200
    assert [path for _, path, _ in ca.requests] == ["/health", "/1.0/sign"]
    client.close()


def test_a_ca_with_another_root_gets_nothing() -> None:
    ca = FakeCa(echo)
    client = ca.client_with(pem_of(issue("another root", None).certificate))
    with pytest.raises(MintError, match=r"certificate of https://ca\.internal is not accepted"):
        client.post("/1.0/sign", {"ott": "token"})
    assert ca.requests == []


def test_a_ca_with_another_name_gets_nothing() -> None:
    ca = FakeCa(echo, name="other.internal")
    with pytest.raises(MintError, match="is not accepted"):
        ca.client.post("/1.0/sign", {"ott": "token"})
    assert ca.requests == []


@pytest.mark.parametrize(
    "answer",
    [b"not json", b"[" * 100_000, b"x" * (3 * 1024 * 1024), b"\xff\xfe"],
    ids=["text", "nested", "long", "bytes"],
)
def test_an_answer_that_is_not_the_cas_is_one_line(answer: bytes) -> None:
    with pytest.raises(MintError, match="not reached from this machine"):
        FakeCa(lambda *_: (200, answer)).client.get("/health")


@pytest.mark.parametrize("answer", [b"", b"[]", b'"text"', b"null"])
def test_an_answer_without_an_object_is_empty(answer: bytes) -> None:
    client = FakeCa(lambda *_: (500, answer)).client
    found = client.get("/health")
    assert (found.status, found.body, found.message) == (500, {}, "HTTP status 500")
    client.close()


def test_what_the_ca_says_is_cut_and_without_control_characters() -> None:
    client = FakeCa(lambda *_: (401, {"message": "no\x1b]52;c;x\x07\n" + "y" * 5000})).client
    message = client.get("/health").message
    client.close()
    assert len(message) <= 300
    assert message.isprintable()


def test_a_ca_that_is_down_is_one_line() -> None:
    def dial() -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    root = pem_of(issue("root", None).certificate)
    with pytest.raises(MintError, match=r"not reached from this machine \(.*refused"):
        CaClient("https://ca.internal", root, dial).get("/health")


def test_a_root_that_is_none_is_the_operators_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no certificate"):
        CaClient("https://ca.internal", "nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_root(tmp_path / "none.pem")
