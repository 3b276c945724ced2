"""The CA's list of provisioners is read to its end, and a hostile one is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from meshfab.ca import jwk_provisioner
from meshfab.errors import MintError
from tests.support.fake_ca import FakeCa


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
