"""What the CA's list of provisioners means for the way of signing and for certificates that are in use."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshfab.ca import public_jwk
from meshfab.ca.jwk_provisioner import JwkProvisioner
from meshfab.checks import provisioner_checks
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from tests.support.certificates import SETTINGS
from tests.support.fake_ca import encrypted
from tests.unit.ca.test_public_jwk import blob

KEY = blob(ec.generate_private_key(ec.SECP256R1()))
WIKI, DOCS = (Service.of(name, SETTINGS) for name in ("wiki", "docs"))


def published(rounds: int = 0, **header: Any) -> JwkProvisioner:
    # The rounds are in the header; the key itself is not opened here.
    key = encrypted(b"", "x", **{"p2c": rounds, **header}) if rounds else ""
    return JwkProvisioner("lair", "kid", public_jwk.of_ssh_key(KEY), key)


@pytest.mark.parametrize(
    ("signing", "provisioner", "status", "words"),
    [
        (
            "host",
            published(600_000),
            "ok",
            "offline, 600,000 rounds of PBKDF2 a guess; signing: agent needs no such key",
        ),
        ("operator", published(100_000), "warning", "100,000 rounds"),
        ("agent", published(600_000), "warning", "offline"),
        ("agent", published(), "ok", "publishes no encrypted key"),
        ("operator", published(), "warning", "publishes no encrypted key"),
        ("host", published(1, alg="none"), "unknown", "its algorithm is not known"),
    ],
)
def test_a_published_key_is_judged_by_its_rounds(
    signing: str, provisioner: JwkProvisioner, status: str, words: str
) -> None:
    finding = provisioner_checks.check_published(provisioner, Settings(signing=signing))
    assert (finding.status, finding.code) == (status, "provisioner-key")
    assert words in finding.message
    assert finding.remedy or status == "ok"


def test_a_local_file_takes_the_place_of_a_published_key() -> None:
    settings = Settings(signing="operator", provisioner_key="~/key.jwe")
    assert provisioner_checks.check_published(published(), settings).status == "ok"


def test_the_agent_has_the_key_or_not() -> None:
    keys = [SimpleNamespace(blob=KEY, comment="mesh")]
    assert provisioner_checks.check_agent(published(), keys).status == "ok"
    missing = provisioner_checks.check_agent(published(), [])
    assert (missing.status, missing.code) == ("critical", "agent")
    assert public_jwk.ssh_fingerprint(KEY) in missing.message


def gone(*names: str) -> list[Any]:
    listed = [{"name": name, "type": "JWK"} for name in names]
    minters = {"wiki": "lair", "docs": "old -> curl evil"}
    return list(provisioner_checks.check_gone(listed, minters, [WIKI, DOCS], "h2"))


def test_a_provisioner_that_minted_and_is_gone_is_critical() -> None:
    assert gone("lair", "old -> curl evil") == []
    (finding,) = gone("lair", "other")
    assert (finding.code, finding.status) == ("provisioner-gone", "critical")
    assert DOCS.fqdn in finding.message
    assert "evil" not in finding.remedy
    assert f"ssh h2 sudo rm {DOCS.cert}, then inv provision --name docs --host h2" in finding.remedy


def test_a_list_that_may_go_on_or_is_not_known_says_nothing() -> None:
    assert gone() == []
    assert gone(*(f"p{number}" for number in range(100))) == []


def test_unused_provisioners_are_said_and_not_judged() -> None:
    settings = Settings(provisioner="lair")
    assert provisioner_checks.check_unused(["lair", "acme"], ["acme"], settings) is None
    finding = provisioner_checks.check_unused(["lair", "acme", "old"], ["lair"], settings)
    assert finding
    assert finding.status == "ok"
    assert "'acme', 'old'" in finding.message


def test_every_way_of_signing_is_described() -> None:
    for signing in ("host", "operator", "agent"):
        finding = provisioner_checks.describe_signing(dataclasses.replace(SETTINGS, signing=signing))
        assert finding.message.startswith(f"signing: {signing}: ")


OTHER = blob(ec.generate_private_key(ec.SECP256R1()))
ENTRY = {"name": "lair", "type": "JWK", "key": public_jwk.of_ssh_key(KEY)}


@pytest.mark.parametrize(
    ("entry", "status", "words"),
    [
        (ENTRY, "ok", "publishes no encrypted key"),
        ({**ENTRY, "encryptedKey": "a.b.c.d.e"}, "warning", "guess its password"),
        ({**ENTRY, "key": public_jwk.of_ssh_key(OTHER)}, "critical", "has another key"),
        ({**ENTRY, "key": {"kty": "RSA"}}, "critical", "has another key"),
        ({**ENTRY, "type": "ACME"}, "critical", "no JWK provisioner"),
        ({**ENTRY, "name": []}, "critical", "no JWK provisioner"),
    ],
)
def test_the_result_of_provisioner_key_is_checked(entry: dict[str, Any], status: str, words: str) -> None:
    finding = provisioner_checks.check_key([entry], "lair", KEY)
    assert (finding.status, words in finding.message) == (status, True)
