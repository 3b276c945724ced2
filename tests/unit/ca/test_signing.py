"""A request is signed when it is for our names alone; the token is bound to it, and used once."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from paramiko import Message

from meshfab.ca.certificate_request import check_request
from meshfab.ca.one_time_token import make_token
from meshfab.ca.signing import RequestSigner
from meshfab.ca.token_signer import AgentSigner, KeySigner
from meshfab.errors import MintError, RevokeError
from tests.support.fake_ca import FakeCa, csr, digest

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = ("wiki.internal", "docs.internal")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, signed text and signature of a token."""
    head, body, signature = token.split(".")
    decoded = [base64.urlsafe_b64decode(part + "==") for part in (head, body, signature)]
    return json.loads(decoded[0]), json.loads(decoded[1]), f"{head}.{body}".encode(), decoded[2]


def test_a_token_is_bound_to_its_request_and_short() -> None:
    der = check_request(csr(*NAMES), NAMES).der
    token = make_token(KeySigner("kid", KEY), "lair", "https://ca.internal/1.0/sign", "ab" * 32, NAMES, der)
    header, claims, signed, signature = parts(token)
    assert header == {"alg": "ES256", "kid": "kid", "typ": "JWT"}
    assert claims["exp"] - claims["nbf"] <= 60
    assert (claims["iss"], claims["sub"], claims["sans"]) == ("lair", NAMES[0], list(NAMES))
    assert claims["cnf"] == {"x5rt#S256": digest(der)}
    assert (claims["aud"], claims["sha"]) == ("https://ca.internal/1.0/sign", "ab" * 32)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    KEY.public_key().verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def test_no_two_tokens_are_alike() -> None:
    der = check_request(csr(*NAMES), NAMES).der
    signer = KeySigner("kid", KEY)
    ids = {parts(make_token(signer, "lair", "https://ca", "", NAMES, der))[1]["jti"] for _ in range(200)}
    assert len(ids) == 200


class Agent:
    """A key in an agent: what it signs, or why it does not."""

    def __init__(self, key: Any, refusal: Exception | None = None) -> None:
        self.key, self.refusal = key, refusal

    def get_name(self) -> str:
        return "ssh-ed25519" if isinstance(self.key, ed25519.Ed25519PrivateKey) else "ecdsa-sha2-nistp256"

    def sign_ssh_data(self, data: bytes) -> bytes:
        if self.refusal:
            raise self.refusal
        message = Message()
        message.add_string(self.get_name())
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            message.add_string(self.key.sign(data))
        else:
            inner = Message()
            for number in utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256()))):
                inner.add_mpint(number)
            message.add_string(inner.asbytes())
        return message.asbytes()


def test_an_agent_signs_with_either_kind_of_key() -> None:
    signature = AgentSigner("kid", Agent(KEY)).sign(b"text")
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    KEY.public_key().verify(utils.encode_dss_signature(r, s), b"text", ec.ECDSA(hashes.SHA256()))
    edwards = ed25519.Ed25519PrivateKey.generate()
    signer = AgentSigner("kid", Agent(edwards))
    assert signer.algorithm == "EdDSA"
    edwards.public_key().verify(signer.sign(b"text"), b"text")


def test_an_agent_that_refuses_is_one_line() -> None:
    from paramiko.ssh_exception import SSHException

    with pytest.raises(MintError, match="ssh-agent does not sign"):
        AgentSigner("kid", Agent(KEY, SSHException("key cannot be used for signing"))).sign(b"text")


def odd_request(change: Callable[[x509.CertificateSigningRequestBuilder], Any], key: Any = KEY) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    hash_or_none = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = change(builder).sign(key, hash_or_none)
    return str(request.public_bytes(serialization.Encoding.PEM).decode())


def sans(*names: x509.GeneralName) -> Callable[[x509.CertificateSigningRequestBuilder], Any]:
    return lambda builder: builder.add_extension(x509.SubjectAlternativeName(names), False)


BOTH = [x509.DNSName(name) for name in NAMES]
HOSTILE = {
    "one name more": csr(*NAMES, "bank.internal"),
    "one name less": csr(NAMES[0]),
    "another order": csr(*reversed(NAMES), subject=NAMES[0]),
    "another subject": csr(*NAMES, subject="bank.internal"),
    "an address": odd_request(sans(*BOTH, x509.UniformResourceIdentifier("https://bank"))),
    "no names": odd_request(lambda builder: builder),
    "a CA": odd_request(lambda builder: sans(*BOTH)(builder).add_extension(x509.BasicConstraints(True, None), True)),
    "RSA": odd_request(sans(*BOTH), rsa.generate_private_key(65537, 2048)),
    "Ed25519": odd_request(sans(*BOTH), ed25519.Ed25519PrivateKey.generate()),
    "P-384": odd_request(sans(*BOTH), ec.generate_private_key(ec.SECP384R1())),
    "text": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "nothing": "",
    "long": csr(*NAMES) + " " * 100_000,
}


@pytest.mark.parametrize("pem", HOSTILE.values(), ids=HOSTILE)
def test_a_request_for_anything_else_is_refused(pem: str) -> None:
    with pytest.raises(MintError, match="refused"):
        check_request(pem, NAMES)


def test_a_request_signed_with_another_key_is_refused() -> None:
    der = bytearray(check_request(csr(*NAMES), NAMES).der)
    der[-3] ^= 1
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(MintError, match="refused"):
        check_request(pem, NAMES)


def signer_for(ca: FakeCa) -> RequestSigner:
    return RequestSigner(ca.client, KeySigner("kid", KEY), "lair", "ab" * 32)


def test_the_chain_is_leaf_first() -> None:
    ca = FakeCa(lambda *_: (201, {"crt": "leaf\n", "ca": "ca", "certChain": ["leaf\n", "intermediate"]}))
    signer, pem = signer_for(ca), csr(*NAMES)
    assert signer.sign(check_request(pem, NAMES)) == "leaf\nintermediate\n"
    signer.client.close()
    ((method, path, body),) = ca.requests
    assert (method, path, body["csr"]) == ("POST", "/1.0/sign", pem)
    der = x509.load_pem_x509_csr(pem.encode()).public_bytes(serialization.Encoding.DER)
    assert parts(body["ott"])[1]["cnf"]["x5rt#S256"] == digest(der)


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [(401, "token expired", "clock"), (403, "not allowed", "policy"), (500, "oops", "log")],
)
def test_a_refusal_of_the_ca_is_told(status: int, message: str, remedy: str) -> None:
    signer = signer_for(FakeCa(lambda *_: (status, {"status": status, "message": message})))
    with pytest.raises(MintError, match=rf"refuses \({status}\): {message}") as caught:
        signer.sign(check_request(csr(*NAMES), NAMES))
    signer.client.close()
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("chain", [None, [], [5], ["x" * 70_000]])
def test_an_answer_without_a_chain_is_an_error(chain: Any) -> None:
    signer = signer_for(FakeCa(lambda *_: (201, {"certChain": chain})))
    with pytest.raises(MintError, match="without a chain"):
        signer.sign(check_request(csr(*NAMES), NAMES))
    signer.client.close()


def test_a_revocation_is_for_one_serial_and_its_token_says_which() -> None:
    ca = FakeCa(lambda *_: (200, {"status": "ok"}))
    signer = signer_for(ca)
    assert signer.revoke(0xAB) is True
    signer.client.close()
    ((method, path, body),) = ca.requests
    assert (method, path, body["serial"], body["passive"]) == ("POST", "/1.0/revoke", "171", True)
    claims = parts(body["ott"])[1]
    assert (claims["aud"], claims["sub"]) == ("https://ca.internal/1.0/revoke", "171")
    assert "sans" not in claims


def test_a_serial_that_is_revoked_already_is_done() -> None:
    message = "The request could not be completed: certificate with serial number '171' is already revoked."
    signer = signer_for(FakeCa(lambda *_: (400, {"status": 400, "message": message})))
    assert signer.revoke(171) is False
    signer.client.close()


def test_a_revocation_that_the_ca_refuses_is_told() -> None:
    signer = signer_for(FakeCa(lambda *_: (401, {"status": 401, "message": "token expired"})))
    with pytest.raises(RevokeError, match=r"refuses \(401\): token expired"):
        signer.revoke(171)
    signer.client.close()
