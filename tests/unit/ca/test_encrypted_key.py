"""The provisioner's key is opened with the password, and a hostile CA burns no time of ours."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from meshfab.ca.encrypted_key import read_encrypted_key, unlock
from meshfab.errors import InputError, MeshfabError, MintError
from tests.support.fake_ca import b64, encrypted, jwk

if TYPE_CHECKING:
    from pathlib import Path

KEY = ec.generate_private_key(ec.SECP256R1())
TEXT = json.dumps(jwk(KEY, kid="its kid")).encode()


def test_the_key_is_opened_with_the_password() -> None:
    opened = unlock(encrypted(TEXT, "secret"), "secret")
    assert opened.key.private_numbers() == KEY.private_numbers()
    assert opened.key_id == "its kid"
    assert unlock(encrypted(TEXT, "secret"), "secret", "kid at the CA").key_id == "kid at the CA"


def test_a_wrong_password_is_the_operators_error() -> None:
    with pytest.raises(InputError, match="does not open"):
        unlock(encrypted(TEXT, "secret"), "other")


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
        unlock(encrypted(TEXT, "secret", **header), "secret")
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({**jwk(KEY), "crv": "P-384"}).encode(),
        json.dumps({**jwk(KEY), "d": "AA"}).encode(),
        json.dumps(jwk(KEY)).encode(),
    ],
    ids=["nothing", "list", "empty", "curve", "number", "no kid"],
)
def test_what_is_in_it_must_be_a_key(text: bytes) -> None:
    with pytest.raises(MintError, match="cannot be used"):
        unlock(encrypted(text, "secret"), "secret")


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(b64), max_size=7).map(".".join))
def test_any_text_is_a_key_or_an_error_of_ours(text: str) -> None:
    with pytest.raises(MeshfabError):
        unlock(text, "secret")


def test_a_file_holds_the_key_in_any_form_that_step_writes(tmp_path: Path) -> None:
    compact = encrypted(TEXT, "secret")
    names = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
    file = tmp_path / "key"
    for text in (
        f"{compact}\n",
        json.dumps(dict(zip(names, compact.split("."), strict=True)), indent=2),
        json.dumps({"key": compact}),
    ):
        file.write_text(text)
        assert unlock(read_encrypted_key(file), "secret").key_id == "its kid"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff", "is not text"),
        (b"{", "is not JSON"),
        (b"{}", "holds no encrypted key"),
        (b'{"key": 5}', "holds no encrypted key"),
        (b'{"kty": "EC", "d": "AAAA"}', "holds no encrypted key"),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_encrypted_key(file)
    assert "AAAA" not in str(caught.value)


def test_a_key_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_encrypted_key(tmp_path / "none")
