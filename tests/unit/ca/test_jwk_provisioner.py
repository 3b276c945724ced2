"""The provisioner's key is opened with the password, and a hostile CA burns no time of ours."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from meshfab.ca import jwk_provisioner
from meshfab.errors import InputError, MeshfabError, MintError
from tests.support.fake_ca import FakeCa, b64, encrypted, jwk

KEY = ec.generate_private_key(ec.SECP256R1())
TEXT = json.dumps(jwk(KEY)).encode()


def entry(name: str, kind: str = "JWK") -> dict[str, Any]:
    return {"type": kind, "name": name, "key": {"kid": f"kid of {name}"}, "encryptedKey": "a.b.c.d.e"}


def test_every_page_of_provisioners_is_read() -> None:
    pages = {
        "/provisioners?limit=100": {"provisioners": [entry("acme", "ACME"), "odd"], "nextCursor": "a b&c"},
        "/provisioners?limit=100&cursor=a%20b%26c": {"provisioners": [entry("lair", "ACME"), entry("lair")]},
    }
    client = FakeCa(lambda _method, path, _body: (200, pages[path])).client
    found = jwk_provisioner.find(client, "lair")
    assert (found.name, found.key_id, found.encrypted_key) == ("lair", "kid of lair", "a.b.c.d.e")
    with pytest.raises(MintError, match="no JWK provisioner 'other'"):
        jwk_provisioner.find(client, "other")
    client.close()


def test_a_ca_whose_list_never_ends_is_given_up() -> None:
    client = FakeCa(lambda *_: (200, {"provisioners": [entry("x")], "nextCursor": "more"})).client
    assert len(jwk_provisioner.list_provisioners(client)) == 20
    client.close()


@pytest.mark.parametrize("answer", [(403, {"message": "forbidden"}), (200, {}), (200, {"provisioners": "none"})])
def test_a_ca_that_does_not_list_them_says_so(answer: tuple[int, Any]) -> None:
    client = FakeCa(lambda *_: answer).client
    with pytest.raises(MintError, match="does not list its provisioners"):
        jwk_provisioner.find(client, "lair")
    client.close()


def test_the_key_is_opened_with_the_password() -> None:
    opened = jwk_provisioner.unlock(encrypted(TEXT, "secret"), "secret")
    assert opened.private_numbers() == KEY.private_numbers()


def test_a_wrong_password_is_the_operators_error() -> None:
    with pytest.raises(InputError, match="does not open"):
        jwk_provisioner.unlock(encrypted(TEXT, "secret"), "other")


@pytest.mark.parametrize(
    "header",
    [
        {"p2c": 10_000_001},
        {"p2c": 0},
        {"p2c": True},
        {"p2c": "1000"},
        {"p2c": 10**400},
        {"alg": "PBES2-HS512+A256KW"},
        {"alg": "none"},
        {"enc": "A128CBC-HS256"},
        {"p2s": 5},
    ],
    ids=str,
)
def test_a_header_that_step_does_not_write_is_refused_before_any_round(header: dict[str, Any]) -> None:
    before = time.process_time()
    with pytest.raises(MintError, match="cannot be used"):
        jwk_provisioner.unlock(encrypted(TEXT, "secret", **header), "secret")
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({**jwk(KEY), "crv": "P-384"}).encode(),
        json.dumps({**jwk(KEY), "d": "AA"}).encode(),
    ],
    ids=["nothing", "list", "empty", "curve", "number"],
)
def test_what_is_in_it_must_be_a_key(text: bytes) -> None:
    with pytest.raises(MintError, match="cannot be used"):
        jwk_provisioner.unlock(encrypted(text, "secret"), "secret")


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(b64), max_size=7).map(".".join))
def test_any_text_is_a_key_or_an_error_of_ours(text: str) -> None:
    with pytest.raises(MeshfabError):
        jwk_provisioner.unlock(text, "secret")
