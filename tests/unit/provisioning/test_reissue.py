"""Which pairs are replaced, and that a pair is not replaced twice."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from meshfab.host import certificate, history
from meshfab.host.facts import ServiceState
from meshfab.provisioning.reissue import Reissue
from tests.support.certificates import HOUR, NOW, authority

PAIR = authority().pair("wiki.internal", start=NOW - 2 * HOUR, life=24 * HOUR)


def state(provisioner: str = "", *, is_recorded: bool = True) -> ServiceState:
    leaf = dataclasses.replace(certificate.read_leaf(PAIR.pem), provisioner=provisioner)
    text = history.line(leaf) if is_recorded else ""
    return ServiceState(cert=PAIR.pem, history=history.parse(text))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (NOW, "its key was made before"),
        (NOW - 2 * HOUR + timedelta(minutes=2), "its key was made before"),
        # The CA dates back, so that a certificate that was made just now seems to be older.
        (NOW - 2 * HOUR + timedelta(minutes=1), ""),
        (NOW - 3 * HOUR, ""),
    ],
)
def test_a_key_is_replaced_once(before: object, reason: str) -> None:
    text = Reissue(before).reason(state())  # type: ignore[arg-type]
    assert text.startswith(reason)
    assert bool(text) == bool(reason)


def test_a_renewal_makes_no_key_younger() -> None:
    renewed = authority().pair("wiki.internal", start=NOW, life=24 * HOUR)
    leaf = certificate.read_leaf(renewed.pem)
    # A renewal keeps the key, and its certificate is a younger one.
    first = dataclasses.replace(leaf, serial=leaf.serial + 1, not_before=NOW - 2 * HOUR)
    both = ServiceState(cert=renewed.pem, history=history.parse(f"{history.line(first)}\n{history.line(leaf)}"))
    assert Reissue(NOW - HOUR).reason(both)
    # Without a record, nobody knows how old the key is.
    assert Reissue(NOW - HOUR).reason(ServiceState(cert=renewed.pem)) == "nobody has recorded when its key was made"


def test_a_provisioner_decides_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = certificate.read_leaf(PAIR.pem)
    minted = {name: dataclasses.replace(leaf, provisioner=name) for name in ("lair", "lair-2", "")}
    rule = Reissue(NOW, "lair-2")

    def reason(name: str) -> str:
        monkeypatch.setattr("meshfab.host.certificate.leaf_of", lambda _pem: minted[name])
        return rule.reason(state())

    assert reason("lair") == "it comes from the provisioner 'lair'"
    assert reason("lair-2") == ""
    # step-ca can leave the name out: then the key's age decides.
    assert reason("").startswith("its key was made before")


def test_without_a_moment_all_keys_are_replaced() -> None:
    assert Reissue().reason(state()) == "a new key was asked for"


def test_what_is_no_certificate_is_minted_for_that_reason() -> None:
    assert Reissue(NOW).reason(ServiceState()) == ""
    assert Reissue(NOW).reason(ServiceState(cert="nonsense")) == ""
