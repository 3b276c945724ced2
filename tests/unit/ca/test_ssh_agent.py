"""The provisioner's key in ssh-agent: which one it is, and what is said where there is none."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from meshfab.ca import public_jwk, ssh_agent
from meshfab.ca.jwk_provisioner import JwkProvisioner
from meshfab.ca.token_signer import AgentSigner
from meshfab.config import password
from meshfab.errors import InputError, MintError, NotReadyError
from tests.unit.ca.test_public_jwk import blob

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

ECDSA, EDWARDS = blob(ec.generate_private_key(ec.SECP256R1())), blob(ed25519.Ed25519PrivateKey.generate())
RSA = blob(rsa.generate_private_key(65537, 2048))


def key(of: bytes, comment: str = "a key") -> Any:
    return SimpleNamespace(blob=of, comment=comment)


def provisioner(of: bytes) -> JwkProvisioner:
    return JwkProvisioner("lair", "the CA's kid", public_jwk.of_ssh_key(of))


def security_key(of: bytes) -> bytes:
    """The FIDO form of a key: another kind, the same numbers, and an application."""
    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
    rest = of[4 + int.from_bytes(of[:4], "big") :]
    return len(kind).to_bytes(4, "big") + kind + rest + b"\0\0\0\4ssh:"


@pytest.mark.parametrize("of", [ECDSA, EDWARDS], ids=["ECDSA", "Ed25519"])
def test_the_key_is_found_by_what_the_ca_lists(of: bytes) -> None:
    signer = ssh_agent.signer_for([key(RSA), key(ECDSA), key(EDWARDS)], provisioner(of))
    assert (signer.key.blob, signer.key_id) == (of, "the CA's kid")


def test_a_key_that_is_not_there_is_named_as_ssh_add_names_it() -> None:
    with pytest.raises(MintError) as raised:
        ssh_agent.signer_for([key(RSA), key(EDWARDS)], provisioner(ECDSA))
    assert public_jwk.ssh_fingerprint(ECDSA) in raised.value.what
    assert "ssh-add" in raised.value.remedy


def test_a_fido_key_is_told() -> None:
    with pytest.raises(MintError, match="is a FIDO key"):
        ssh_agent.signer_for([key(security_key(ECDSA))], provisioner(ECDSA))
    with pytest.raises(MintError, match="is a FIDO key"):
        ssh_agent.signer_by_label([key(security_key(ECDSA), "token")], "token")


def test_a_provisioner_with_another_kind_of_key_is_told() -> None:
    with pytest.raises(MintError, match="is RSA, with which no ssh-agent can sign"):
        ssh_agent.signer_for([key(ECDSA)], JwkProvisioner("lair", "kid", {"kty": "RSA"}))


@pytest.mark.parametrize("label", ["mesh", public_jwk.ssh_fingerprint(ECDSA)], ids=["comment", "fingerprint"])
def test_a_key_is_found_by_its_comment_or_fingerprint(label: str) -> None:
    signer = ssh_agent.signer_by_label([key(RSA), key(ECDSA, "mesh")], label)
    assert (signer.key.blob, signer.key_id) == (ECDSA, public_jwk.of_ssh_key(ECDSA)["kid"])


@pytest.mark.parametrize(("label", "words"), [("a key", "several keys"), ("x", "no key"), ("rsa", "is ssh-rsa")])
def test_a_label_that_names_no_usable_key_is_told(label: str, words: str) -> None:
    with pytest.raises(MintError, match=words):
        ssh_agent.signer_by_label([key(ECDSA), key(EDWARDS), key(RSA, "rsa")], label)


def test_an_agent_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(InputError, match="SSH_AUTH_SOCK is not set"):
        ssh_agent.open_agent()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(InputError, match="none answers at SSH_AUTH_SOCK"):
        ssh_agent.open_agent()


def test_a_worker_does_not_use_the_agent(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    mocker.patch.object(password, "_is_own_worker", True)
    connected = mocker.patch("paramiko.agent.get_agent_connection")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/somewhere")
    with pytest.raises(NotReadyError, match="not used in a worker"):
        ssh_agent.open_agent()
    connected.assert_not_called()


def test_threads_sign_one_after_the_other() -> None:
    """paramiko writes a question and reads an answer on one socket, without a lock."""
    active, most, barrier = 0, 0, threading.Barrier(4)

    def sign(_data: bytes) -> bytes:
        nonlocal active, most
        active += 1
        most = max(most, active)
        # Other threads get the interpreter here, as they do while paramiko waits for the socket.
        threading.Event().wait(0.001)
        active -= 1
        return b"\0\0\0\x0bssh-ed25519\0\0\0\1s"

    signer = AgentSigner("kid", SimpleNamespace(get_name=lambda: "ssh-ed25519", sign_ssh_data=sign))

    def work() -> None:
        barrier.wait()
        assert signer.sign(b"text") == b"s"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
