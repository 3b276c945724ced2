"""Revoking one serial: by a token where one can be signed here, else by the pair that has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.config.settings import Settings
from meshfab.errors import InputError, RevokeError
from meshfab.host import certificate, history
from meshfab.provisioning import revocation
from meshfab.provisioning.request import MintingMeans
from meshfab.provisioning.revocation import Revocation, revoke
from meshfab.ssh.script import Answer, Request
from tests.support.certificates import SETTINGS, good_pair
from tests.support.multi_service_host import MultiServiceHost, converged_host

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

NAMES = ("wiki", "docs")


class Signer:
    """Revokes as the CA does."""

    def __init__(self) -> None:
        self.revoked: list[int] = []

    def revoke(self, serial: int, _c: Any) -> bool:
        self.revoked.append(serial)
        return self.revoked.count(serial) == 1

    def close(self) -> None:
        return


@pytest.fixture
def host(mocker: MockerFixture) -> MultiServiceHost:
    host = MultiServiceHost({name: converged_host(name) for name in NAMES}, undeclared=" ".join(NAMES))
    mocker.patch.object(revocation, "RootShell", return_value=host.shell)
    return host


def serial_of(name: str) -> int:
    return certificate.read_leaf(good_pair(f"{name}.internal").pem).serial


def answered(host: MultiServiceHost, text: str = "", *, error: str = "") -> None:
    def answer(request: Request) -> Answer:
        return Answer(request.script, bool(error), text.encode(), error)

    host.shell.answers["revoke_pair"] = answer


def test_a_token_revokes_any_serial_and_twice_is_done(mocker: MockerFixture) -> None:
    signer: Any = Signer()
    mocker.patch.object(revocation, "revoking_means", return_value=MintingMeans(signer=signer))
    settings = replace(SETTINGS, signing="operator")
    assert revoke(None, "0xAB", settings=settings) == Revocation(171, "token", was_revoked=False)
    assert revoke(None, 171, settings=settings) == Revocation(171, "token", was_revoked=True)
    assert signer.revoked == [171, 171]


def test_the_pair_with_the_serial_revokes_itself(host: MultiServiceHost) -> None:
    answered(host, "revoked\n")
    connection: Any = host.shell.c
    serial = serial_of("docs")
    assert revoke(connection, serial, settings=SETTINGS) == Revocation(serial, "pair", False, "docs.internal")
    ((step, cert, key, *_, reason, hex_serial),) = host.calls("revoke_pair")
    assert (step, cert.rpartition("/")[2], key.rpartition("/")[2]) == ("/usr/bin/step", *["docs.internal.pem"] * 2)
    # The tick may renew it before the lock is taken.
    assert hex_serial == history.hex_serial(serial)
    assert reason == "cessationOfOperation"
    assert host.shell.scripts == ["facts+discover", "lock", "revoke_pair"]
    answered(host, "was revoked\n")
    assert revoke(connection, serial, settings=SETTINGS).was_revoked


def test_a_serial_that_no_pair_of_the_host_has(host: MultiServiceHost) -> None:
    with pytest.raises(RevokeError, match="no service of this host has a certificate with the serial 5"):
        revoke(host.shell.c, 5, settings=SETTINGS)
    assert host.shell.scripts == ["facts+discover"]


def test_a_ca_that_is_down_is_told(host: MultiServiceHost) -> None:
    answered(host, error="dial tcp: connection refused")
    with pytest.raises(RevokeError, match="does not revoke the pair: dial tcp") as caught:
        revoke(host.shell.c, serial_of("wiki"), settings=SETTINGS)
    assert "run this again" in caught.value.remedy


def test_without_a_host_and_without_a_key_nothing_can_be_done() -> None:
    with pytest.raises(InputError, match="nothing here can sign a revocation"):
        revoke(None, 171, settings=Settings())


@pytest.mark.parametrize("serial", ["", "0", "-1", "wiki", "1" * 60, "0x", "12 34"])
def test_what_is_no_serial_is_refused_before_anything_is_connected(serial: str) -> None:
    with pytest.raises(InputError, match="the serial"):
        revoke(None, serial, settings=Settings())
