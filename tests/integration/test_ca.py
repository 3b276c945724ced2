"""The CA's client against a real step-ca: what it signs, and what it refuses."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lab import layout
from meshfab.ca import encrypted_key, jwk_provisioner
from meshfab.ca.certificate_request import check_request
from meshfab.ca.client import CaClient, read_root
from meshfab.ca.one_time_token import make_token
from meshfab.ca.signing import RequestSigner
from meshfab.errors import InputError, MintError
from meshfab.host import certificate, certificate_chain
from tests.support.certificates import pem_of
from tests.support.fake_ca import csr, issue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Mesh

pytestmark = pytest.mark.lab

NAMES = ("wiki.internal", "docs.internal")


@pytest.fixture
def client(mesh: Mesh) -> Iterator[CaClient]:
    client = CaClient(layout.CA_URL, read_root(mesh.root))
    yield client
    client.close()


@pytest.fixture
def signer(mesh: Mesh, client: CaClient) -> RequestSigner:
    provisioner = jwk_provisioner.find(client, layout.PROVISIONER)
    password = mesh.lab.password.read_text().rstrip()
    key = encrypted_key.unlock(provisioner.encrypted_key, password, provisioner.key_id)
    root = x509.load_pem_x509_certificate(mesh.root.read_bytes())
    fingerprint = hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
    return RequestSigner(client, key, provisioner.name, fingerprint)


def test_a_request_becomes_a_chain(signer: RequestSigner, mesh: Mesh) -> None:
    pem = csr(*NAMES)
    leaf = certificate.read_leaf(signer.sign(check_request(pem, NAMES)))
    assert leaf.sans == tuple(sorted(NAMES))
    assert certificate_chain.chain_fault(leaf, mesh.root.read_text(), leaf.not_after) == ""
    request = x509.load_pem_x509_csr(pem.encode())
    assert certificate.read_leaf(signer.sign(check_request(pem, NAMES))).public == leaf.public
    assert x509.load_der_x509_certificate(leaf.der).public_key() == request.public_key()


def sent(signer: RequestSigner, pem: str, token: str) -> int:
    return signer.client.post("/1.0/sign", {"csr": pem, "ott": token}).status


def token_of(signer: RequestSigner, pem: str) -> str:
    url = f"{signer.client.url}/1.0/sign"
    return make_token(
        signer.signer, signer.provisioner, url, signer.root_fingerprint, NAMES, check_request(pem, NAMES).der
    )


def test_a_request_that_was_changed_on_the_way_is_refused(signer: RequestSigner) -> None:
    token = token_of(signer, csr(*NAMES))
    assert sent(signer, csr(*NAMES), token) == 403


@pytest.mark.slow
def test_a_token_works_once(signer: RequestSigner) -> None:
    pem = csr(*NAMES)
    tokens = [token_of(signer, pem) for _ in range(200)]
    assert len(set(tokens)) == 200
    assert {sent(signer, pem, token) for token in tokens} == {201}
    assert {sent(signer, pem, token) for token in tokens} == {401}


def test_a_clock_that_is_wrong_is_told(signer: RequestSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    with pytest.raises(MintError, match="401") as caught:
        signer.sign(check_request(csr(*NAMES), NAMES))
    assert "clock" in caught.value.remedy


def test_the_password_that_step_was_told_opens_the_key_and_no_other(mesh: Mesh, client: CaClient) -> None:
    published = jwk_provisioner.find(client, layout.PROVISIONER).encrypted_key
    with pytest.raises(InputError, match="does not open"):
        encrypted_key.unlock(published, mesh.lab.password.read_text().rstrip() + "x")


def test_another_root_is_not_trusted() -> None:
    client = CaClient(layout.CA_URL, pem_of(issue("other", None).certificate))
    with pytest.raises(MintError, match="is not accepted"):
        client.get("/health")
