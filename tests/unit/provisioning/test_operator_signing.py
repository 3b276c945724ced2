"""Pairs that are signed on the operator's side: one round trip for all, and one service's error is its own."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshfab.ca import public_jwk
from meshfab.ca.client import UnreachableCaError
from meshfab.ca.jwk_provisioner import JwkProvisioner
from meshfab.ca.token_signer import KeySigner
from meshfab.config.password import Password
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, MintError
from meshfab.provisioning import signed_pairs
from meshfab.provisioning.operator_signing import OperatorSigner
from meshfab.provisioning.request import minting_means
from meshfab.ssh.script import Answer
from tests.support.certificates import SETTINGS, authority
from tests.support.fake_ca import csr, encrypted, jwk
from tests.support.fake_host import Host, RecordingShell, encoded
from tests.support.fake_signer import Signer
from tests.unit.ca.test_public_jwk import blob

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture


ECDSA = blob(ec.generate_private_key(ec.SECP256R1()))
WIKI, DOCS = (Service.of(name, SETTINGS) for name in ("wiki", "docs"))


def signed(requests: dict[str, str], signer: Signer, root: str | None = None) -> dict[str, Any]:
    answer = Answer("facts+request_pairs", 0, encoded({f"{name}/request": pem for name, pem in requests.items()}), "")
    state = Host().state()
    if root:
        state = dataclasses.replace(state, root=root)
    shell: Any = RecordingShell()
    results = signed_pairs.sign_all(shell, state, [WIKI, DOCS], signer, answer)  # type: ignore[arg-type]
    assert shell.sent == []
    return dict(results)


BOTH = {"wiki": csr(WIKI.fqdn), "docs": csr(DOCS.fqdn)}


def test_all_services_take_one_request_and_their_chains_another() -> None:
    request = signed_pairs.make_requests([WIKI, DOCS])
    assert request.script == "facts+request_pairs"
    assert request.args == (
        *("wiki", "/run/meshfab/wiki.stage", "/CN=wiki.internal", "DNS:wiki.internal"),
        *("docs", "/run/meshfab/docs.stage", "/CN=docs.internal", "DNS:docs.internal"),
    )
    signer = Signer()
    results = signed(BOTH, signer)
    assert sorted(signer.signed) == sorted([WIKI.names, DOCS.names])
    for service in (WIKI, DOCS):
        assert results[service.name][0].sans == service.names
    request = signed_pairs.stage_chains([(WIKI, "chain 1"), (DOCS, "chain 2")])
    assert request.args == ("/run/meshfab/wiki.stage", "chain 1", "/run/meshfab/docs.stage", "chain 2")


def test_a_name_that_is_too_long_for_a_cn_has_none() -> None:
    assert signed_pairs.make_requests([Service.of("a" * 60, SETTINGS)]).args[2] == "/"


def test_a_host_that_makes_no_request_is_an_error() -> None:
    answer = Answer("facts+request_pairs", 1, b"", "boom")
    with pytest.raises(MintError, match="makes no certificate request: boom"):
        signed_pairs.sign_all(RecordingShell(), Host().state(), [WIKI], Signer(), answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("pem", ["", "nonsense", csr(WIKI.fqdn, "bank.internal"), csr(DOCS.fqdn)])
def test_a_request_that_is_not_for_the_service_is_its_own_error(pem: str) -> None:
    signer = Signer()
    results = signed({**BOTH, "wiki": pem}, signer)
    assert isinstance(results["wiki"], MintError)
    assert results["wiki"].host == "h2"
    assert isinstance(results["docs"], tuple)
    assert signer.signed == [DOCS.names]


@pytest.mark.parametrize(
    ("signer", "words"),
    [(Signer(other_key=True), "is not this certificate's"), (Signer(names=("bank.internal",)), "lacks wiki.internal")],
    ids=["another key", "other names"],
)
def test_a_chain_for_something_else_is_refused(signer: Signer, words: str) -> None:
    error = signed(BOTH, signer)["wiki"]
    assert isinstance(error, MintError)
    assert words in error.what


def test_a_host_with_another_root_gets_no_pair() -> None:
    error = signed(BOTH, Signer(), root=authority("Other").root_pem)["wiki"]
    assert isinstance(error, MeshfabError)
    assert "does not chain" in error.what


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "root.pem"
    file.write_text(authority().root_pem)
    return Settings(signing="operator", operator_root=str(file))


def test_the_key_is_unlocked_once_for_all_hosts(settings: Settings, mocker: MockerFixture) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    published = JwkProvisioner("lair", "kid", {}, "a.b.c.d.e")
    find = mocker.patch("meshfab.ca.jwk_provisioner.find", return_value=published)
    unlock = mocker.patch("meshfab.ca.encrypted_key.unlock", return_value=KeySigner("kid", key))
    sign = mocker.patch("meshfab.ca.signing.RequestSigner.sign", return_value="chain")
    signer = OperatorSigner(settings, Password("secret"))
    for _ in range(3):
        assert signer.sign(mocker.Mock(), mocker.Mock()) == "chain"
    assert (find.call_count, unlock.call_count, sign.call_count) == (1, 1, 3)
    assert "secret" not in repr(signer)


def test_a_pinned_root_must_be_the_operators_own(settings: Settings) -> None:
    with pytest.raises(InputError, match="is not the pinned root"):
        OperatorSigner(dataclasses.replace(settings, root_fingerprint="ab" * 32), Password("secret"))


def test_a_ca_that_publishes_no_key_is_told(settings: Settings, mocker: MockerFixture) -> None:
    mocker.patch("meshfab.ca.jwk_provisioner.find", return_value=JwkProvisioner("lair", "kid", {}))
    with pytest.raises(MintError, match="does not publish the key"):
        OperatorSigner(settings, Password("secret")).sign(mocker.Mock(), mocker.Mock())


def test_a_local_key_serves_a_ca_that_lists_no_provisioners(
    settings: Settings, mocker: MockerFixture, tmp_path: Path
) -> None:
    key, file = ec.generate_private_key(ec.SECP256R1()), tmp_path / "key"
    file.write_text(encrypted(json.dumps(jwk(key, kid="its kid")).encode(), "secret"))
    find = mocker.patch("meshfab.ca.jwk_provisioner.find", side_effect=MintError("does not list its provisioners"))
    sign = mocker.patch("meshfab.ca.signing.RequestSigner.sign", autospec=True, return_value="chain")
    signer = OperatorSigner(dataclasses.replace(settings, provisioner_key=str(file)), Password("secret"))
    assert signer.sign(mocker.Mock(), mocker.Mock()) == "chain"
    assert find.call_count == 0
    assert sign.call_args.args[0].signer.key_id == "its kid"


def test_a_root_file_without_a_certificate_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("no certificate\n")
    with pytest.raises(InputError, match="holds no certificate") as caught:
        OperatorSigner(settings, Password("secret"))
    assert "meshfab.operator_root" in caught.value.remedy


def agent_settings(settings: Settings, **more: str) -> Settings:
    return dataclasses.replace(settings, signing="agent", provisioner_password="/nonexistent", **more)  # type: ignore[arg-type]


def test_the_agent_signs_without_any_password(settings: Settings, mocker: MockerFixture) -> None:
    agent = mocker.patch("meshfab.ca.ssh_agent.open_agent").return_value
    provisioner = JwkProvisioner("lair", "kid", public_jwk.of_ssh_key(ECDSA))
    find = mocker.patch("meshfab.ca.jwk_provisioner.find", return_value=provisioner)
    sign = mocker.patch("meshfab.ca.signing.RequestSigner.sign", return_value="chain")
    agent.get_keys.return_value = [mocker.Mock(blob=ECDSA)]
    means = minting_means(agent_settings(settings))
    assert means.password is None
    assert means.signer
    for _ in range(3):
        assert means.signer.sign(mocker.Mock(), mocker.Mock()) == "chain"
    assert (find.call_count, sign.call_count) == (1, 3)
    means.close()
    agent.close.assert_called_once_with()


def test_a_ca_that_does_not_list_its_provisioners_needs_the_key_named(
    settings: Settings, mocker: MockerFixture
) -> None:
    agent = mocker.patch("meshfab.ca.ssh_agent.open_agent").return_value
    agent.get_keys.return_value = [mocker.Mock(blob=ECDSA, comment="mesh")]
    find = mocker.patch("meshfab.ca.jwk_provisioner.find", side_effect=MintError("does not list its provisioners"))
    sign = mocker.patch("meshfab.ca.signing.RequestSigner.sign", return_value="chain")
    with pytest.raises(MintError) as raised:
        OperatorSigner(agent_settings(settings), None).sign(mocker.Mock(), mocker.Mock())
    assert "meshfab.agent_key" in raised.value.remedy
    signer = OperatorSigner(agent_settings(settings, agent_key="mesh"), None)
    assert signer.sign(mocker.Mock(), mocker.Mock()) == "chain"
    assert (find.call_count, sign.call_count) == (1, 1)


def test_a_key_that_is_unlocked_early_is_unlocked_once(settings: Settings, mocker: MockerFixture) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    mocker.patch("meshfab.ca.jwk_provisioner.find", return_value=JwkProvisioner("lair", "kid", {}, "a.b.c.d.e"))
    unlock = mocker.patch("meshfab.ca.encrypted_key.unlock", return_value=key)
    mocker.patch("meshfab.ca.signing.RequestSigner.sign", return_value="chain")
    signer = OperatorSigner(settings, Password("secret"))
    signer.unlock_early()
    signer.unlock_early()
    assert signer.sign(mocker.Mock(), mocker.Mock()) == "chain"
    assert signer._early is not None
    signer._early.join()
    assert unlock.call_count == 1


@pytest.mark.parametrize("error", [UnreachableCaError("the CA is not reached"), InputError("a wrong password")])
def test_an_early_error_is_raised_when_there_is_something_to_sign(
    settings: Settings, mocker: MockerFixture, error: MeshfabError
) -> None:
    find = mocker.patch("meshfab.ca.jwk_provisioner.find", side_effect=error)
    signer = OperatorSigner(settings, Password("secret"))
    signer.unlock_early()
    assert signer._early is not None
    signer._early.join()
    with pytest.raises(MeshfabError, match=error.what):
        signer.sign(mocker.Mock(), mocker.Mock())
    # A CA that was not reached is asked through the host at once, and not waited for again from here.
    assert find.call_count == 2
