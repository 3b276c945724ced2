"""Certificates as plain values."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from meshfab.host import certificate, certificate_chain
from tests.support.certificates import HOUR, NOW, authority, good_pair, pem_of

FQDN = "gongfoo.internal"


def test_a_leaf_has_what_its_file_says() -> None:
    pair = authority().pair("b.internal", "a.internal", start=NOW, life=HOUR)
    leaf = certificate.read_leaf(pair.pem)
    assert leaf.der == pair.der
    assert leaf.sans == ("a.internal", "b.internal")
    assert leaf.serial == pair.certificate.serial_number
    assert (leaf.not_before, leaf.not_after) == (NOW, NOW + HOUR)
    assert leaf.issuers == (authority().intermediate.der,)
    assert leaf.fingerprint == pair.certificate.fingerprint(hashes.SHA256()).hex()


def test_a_name_in_the_subject_alone_is_none_for_clients() -> None:
    assert certificate.read_leaf(authority().pair(subject=FQDN).pem).sans == ()


WHOLE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BROKEN = {
    "empty": ("", "empty"),
    "white space": (" \n\n", "empty"),
    "cut in the leaf": ("-----BEGIN CERTIFICATE-----\nMIIB", "cut"),
    "cut in the chain": (f"{WHOLE}-----BEGIN CERTIFICATE-----\nMIIB", "cut"),
    "no PEM": ("hello", "PEM"),
    "PEM of nothing": (WHOLE, "PEM"),
    "a key": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PEM"),
}


@pytest.mark.parametrize(("text", "word"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_certificate_says_why(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        certificate.read_leaf(text)


def test_a_certificate_of_a_version_that_does_not_exist_is_unreadable() -> None:
    der = good_pair().der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06", 1)
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError, match="certificate"):
        certificate.read_leaf(pem)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_certificate_is_read_or_refused_and_never_crashes(at: int, noise: bytes) -> None:
    der = good_pair().der
    der = der[: at % len(der)] + noise + der[at % len(der) + len(noise) :]
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    try:
        leaf = certificate.read_leaf(pem)
    except ValueError:
        return
    assert certificate_chain.chain_fault(leaf, authority().root_pem, NOW) or der == good_pair().der


@given(st.text())
def test_any_text_is_a_leaf_or_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="the file"):
        certificate.read_leaf(text)


def test_a_key_is_told_from_another() -> None:
    leaf = certificate.read_leaf(good_pair().pem)
    assert certificate.is_key_of(leaf, good_pair().public)
    assert not certificate.is_key_of(leaf, authority().pair(FQDN).public)


@pytest.mark.parametrize("text", ["", "junk", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_not_this_one(text: str) -> None:
    assert not certificate.is_key_of(certificate.read_leaf(good_pair().pem), text)


def test_a_chain_to_the_root_has_no_fault() -> None:
    assert certificate_chain.chain_fault(certificate.read_leaf(good_pair().pem), authority().root_pem, NOW) == ""


@pytest.mark.parametrize(
    "now", [NOW - 48 * HOUR, NOW + 9999 * HOUR, NOW + 24 * HOUR], ids=["before its start", "long over", "at its end"]
)
def test_the_leafs_own_dates_are_no_fault_of_the_chain(now: object) -> None:
    leaf = certificate.read_leaf(good_pair().pem)
    assert certificate_chain.chain_fault(leaf, authority().root_pem, now) == ""  # type: ignore[arg-type]


def test_a_chain_to_another_root_is_a_fault() -> None:
    leaf = certificate.read_leaf(authority("Other").pair(FQDN).pem)
    assert certificate_chain.chain_fault(leaf, authority().root_pem, NOW)


def test_a_root_of_the_same_name_with_another_key_is_a_fault() -> None:
    leaf = certificate.read_leaf(good_pair().pem)
    other = authority.__wrapped__("Mesh")
    assert certificate_chain.chain_fault(leaf, other.root_pem, NOW)


def test_a_file_without_its_intermediate_is_a_fault() -> None:
    leaf = certificate.read_leaf(authority().pair(FQDN, without_chain=True).pem)
    assert certificate_chain.chain_fault(leaf, authority().root_pem, NOW)


@pytest.mark.parametrize("root", ["", "junk", WHOLE], ids=["empty", "no PEM", "PEM of nothing"])
def test_a_root_that_is_no_certificate_is_a_fault_in_words(root: str) -> None:
    assert "root" in certificate_chain.chain_fault(certificate.read_leaf(good_pair().pem), root, NOW)


def test_a_root_file_may_hold_two_roots() -> None:
    roots = authority("Other").root_pem + authority().root_pem
    assert certificate_chain.chain_fault(certificate.read_leaf(good_pair().pem), roots, NOW) == ""


def test_a_leaf_that_poses_as_an_issuer_is_a_fault() -> None:
    # Signed by a leaf of the mesh: every host of the mesh could do that.
    thief, key = good_pair(), ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FQDN)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(thief.certificate.subject)
        .public_key(authority().pair(FQDN).key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + HOUR)
        .sign(thief.key, hashes.SHA256())
    )
    assert key
    leaf = certificate.read_leaf(pem_of(made) + thief.pem)
    assert certificate_chain.chain_fault(leaf, authority().root_pem, NOW)


def test_a_mesh_with_ed25519_keys_is_as_good() -> None:
    # `step ca init --kty OKP`, and `step ca certificate --kty OKP`.
    root_key, key = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])

    def made(subject: x509.Name, public: ed25519.Ed25519PublicKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - HOUR).not_valid_after(NOW + HOUR)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(root_key, None)

    root = made(root_name, root_key.public_key(), x509.BasicConstraints(True, 1))
    san = x509.SubjectAlternativeName([x509.DNSName(FQDN)])
    leaf = made(x509.Name([]), key.public_key(), san)
    assert certificate_chain.chain_fault(certificate.read_leaf(pem_of(leaf)), pem_of(root), NOW) == ""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert certificate.is_key_of(certificate.read_leaf(pem_of(leaf)), public.decode())


@pytest.mark.parametrize(
    ("left", "is_expiring"),
    [(timedelta(hours=8, seconds=1), False), (timedelta(hours=8) - timedelta(seconds=1), True), (-HOUR, True)],
    ids=["just over a third", "just under a third", "over"],
)
def test_a_leaf_is_expiring_in_the_last_third_of_its_life(left: timedelta, is_expiring: bool) -> None:
    leaf = certificate.read_leaf(authority().pair(FQDN, start=NOW, life=24 * HOUR).pem)
    assert leaf.is_expiring(leaf.not_after - left) is is_expiring
