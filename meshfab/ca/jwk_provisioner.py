"""A JWK provisioner of step-ca, as the CA describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meshfab.errors import MintError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshfab.ca.client import CaClient

# step-ca serves at most a hundred at once, and goes on with a cursor (api/api.go).
_PAGE = 100
_MAX_PAGES = 20


@dataclass(frozen=True)
class JwkProvisioner:
    """A JWK provisioner.

    Attributes:
        name: its name at the CA.
        key_id: the `kid` of its key.
        public: its public key, a JWK.
        encrypted_key: its private key, a JWE in compact form; empty if the CA does not publish it.
    """

    name: str
    key_id: str
    public: dict[str, Any]
    encrypted_key: str = ""


def list_provisioners(client: CaClient) -> list[dict[str, Any]]:
    """Every provisioner of the CA, as it describes them.

    Raises:
        MintError: the CA is not reached, or does not list them.
    """
    listed: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(_MAX_PAGES):
        answer = client.get(f"/provisioners?limit={_PAGE}" + (f"&cursor={quote(cursor)}" if cursor else ""))
        page = answer.body.get("provisioners")
        if answer.status != 200 or not isinstance(page, list):
            raise MintError(f"the CA at {client.url} does not list its provisioners ({answer.message})")
        listed += [provisioner for provisioner in page if isinstance(provisioner, dict)]
        cursor = str(answer.body.get("nextCursor") or "")
        if not cursor:
            break
    return listed


def find(client: CaClient, name: str) -> JwkProvisioner:
    """The JWK provisioner of that name.

    Raises:
        MintError: the CA has none, is not reached, or does not list its provisioners.
    """
    if provisioner := pick(list_provisioners(client), name):
        return from_json(name, provisioner)
    raise MintError(
        f"the CA at {client.url} has no JWK provisioner '{name}'",
        remedy="set meshfab.provisioner, or put it back at the CA",
    )


def pick(listed: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The JWK provisioner of that name in the CA's list, as the CA describes it; None if there is none."""
    named = (provisioner for provisioner in listed if provisioner.get("name") == name)
    return next((provisioner for provisioner in named if provisioner.get("type") == "JWK"), None)


def from_json(name: str, provisioner: dict[str, Any]) -> JwkProvisioner:
    """A provisioner from the CA's description of it."""
    key, encrypted = provisioner.get("key"), provisioner.get("encryptedKey")
    public = key if isinstance(key, dict) else {}
    return JwkProvisioner(name, str(public.get("kid", "")), public, encrypted if isinstance(encrypted, str) else "")
