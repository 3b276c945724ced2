"""Check the provisioners of the CA against the way of signing and the certificates of hosts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshfab.ca import encrypted_key, jwk_provisioner, public_jwk, ssh_agent
from meshfab.checks import remedies
from meshfab.checks.finding import Finding
from meshfab.errors import MintError
from meshfab.host import certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from meshfab.ca.jwk_provisioner import JwkProvisioner
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

# What step writes since May 2023, as OWASP advises for PBKDF2 with SHA-256.
_FEWEST_ROUNDS = 600_000
# doctor.sh asks for as many provisioners, the most that step-ca lists at once.
PAGE = 100
_MOST_NAMES = 10
_WAYS = {
    "host": "the password goes to a host for the moment in which it mints",
    "operator": "the password opens the provisioner's key on this machine, and no host sees it",
    "agent": "ssh-agent on this machine signs with the provisioner's key, and no password is used",
}


def describe_signing(settings: Settings) -> Finding:
    """The way of signing that is in force."""
    return Finding("signing", "ok", f"signing: {settings.signing}: {_WAYS[settings.signing]}")


def ours(listed: Iterable[dict[str, Any]], name: str) -> JwkProvisioner | None:
    """The JWK provisioner of that name in the CA's list; None if there is none."""
    provisioner = jwk_provisioner.pick(listed, name)
    return jwk_provisioner.from_json(name, provisioner) if provisioner else None


def check_published(provisioner: JwkProvisioner, settings: Settings) -> Finding:
    """Whether the CA publishes the provisioner's encrypted key, and how long one guess at its password takes."""
    code, name = "provisioner-key", provisioner.name
    if not provisioner.encrypted_key:
        if settings.signing == "agent" or (settings.signing == "operator" and settings.provisioner_key):
            return Finding(code, "ok", f"the CA publishes no encrypted key of '{name}', so nothing can be guessed")
        what = (
            f"the CA publishes no encrypted key of '{name}', which signing: {settings.signing} opens with the password"
        )
        return Finding(code, "warning", what, "use signing: agent, or signing: operator with meshfab.provisioner_key")
    what = f"the CA publishes the encrypted key of '{name}', so that everybody can guess its password offline"
    to_agent = "use signing: agent, with a provisioner that has no encrypted key: inv provisioner-key"
    try:
        rounds = encrypted_key.rounds(provisioner.encrypted_key)
    except MintError as error:
        return Finding(code, "unknown", error.what, error.remedy)
    what += f", {rounds:,} rounds of PBKDF2 a guess"
    if rounds < _FEWEST_ROUNDS:
        remedy = f"let a current step make a new key for it, which has {_FEWEST_ROUNDS:,} rounds; or {to_agent}"
        return Finding(code, "warning", what, remedy)
    if settings.signing == "agent":
        return Finding(code, "warning", what, "make a provisioner without it: inv provisioner-key")
    return Finding(code, "ok", f"{what}; signing: agent needs no such key")


def check_agent(provisioner: JwkProvisioner, keys: Iterable[Any]) -> Finding:
    """Whether ssh-agent has the provisioner's key."""
    try:
        signer = ssh_agent.signer_for(keys, provisioner)
    except MintError as error:
        return Finding("agent", "critical", error.what, error.remedy)
    fingerprint = public_jwk.ssh_fingerprint(signer.key.blob)
    return Finding("agent", "ok", f"ssh-agent has the key of provisioner '{provisioner.name}' ({fingerprint})")


def minters(state: HostState, services: Sequence[Service]) -> dict[str, str]:
    """The provisioner of each declared service's certificate that has not expired, by the service's name."""
    found: dict[str, str] = {}
    for service in services:
        leaf = certificate.leaf_of(state.services[service.name].cert)
        if leaf and leaf.not_after > state.now and leaf.provisioner:
            found[service.name] = leaf.provisioner
    return found


def check_key(listed: Sequence[dict[str, Any]], name: str, public: bytes) -> Finding:
    """Whether the CA has a provisioner of that name with that key, and not its private half.

    Args:
        listed: the CA's provisioners.
        name: the provisioner's name.
        public: the key, as SSH has it.
    """
    code, fingerprint = "provisioner", public_jwk.ssh_fingerprint(public)
    provisioner = ours(listed, name)
    if provisioner is None:
        return Finding(code, "critical", f"the CA has no JWK provisioner '{name}'", "add it at the CA")
    try:
        is_same = public_jwk.to_ssh_key(provisioner.public) == public
    except ValueError:
        is_same = False
    if not is_same:
        what = f"the CA's provisioner '{name}' has another key than {fingerprint}"
        return Finding(code, "critical", what, "give the new one another name: --provisioner NAME")
    if provisioner.encrypted_key:
        what = f"the CA publishes the encrypted key of '{name}', so that everybody can guess its password offline"
        return Finding(code, "warning", what, "remove it at the CA, and add it again with --public-key")
    return Finding(code, "ok", f"the CA has '{name}' with the key {fingerprint}, and publishes no encrypted key")


def check_gone(
    listed: Sequence[dict[str, Any]], minters: Mapping[str, str], services: Sequence[Service], host: str
) -> Iterator[Finding]:
    """Provisioners that the CA lost: it renews no certificate that comes from one (401 'provisioner not found')."""
    if not listed or len(listed) >= PAGE:
        return  # the list is not known, or may go on
    names = {str(provisioner.get("name")) for provisioner in listed}
    for service in services:
        if (minter := minters.get(service.name)) and minter not in names:
            what = (
                f"the certificate of {service.fqdn} comes from the provisioner '{minter}', which the CA does not have"
            )
            anew = f"{remedies.on_host(host, f'sudo rm {service.cert}')}, then inv provision --name {service.name}"
            remedy = f"it cannot be renewed: put the provisioner back at the CA; or mint it anew: {anew} --host {host}"
            yield Finding("provisioner-gone", "critical", what, remedy)


def check_unused(listed: Iterable[str], minters: Iterable[str], settings: Settings) -> Finding | None:
    """Provisioners from which no certificate of a declared service comes; None if there is none.

    Others may use them: it is said and not judged.
    """
    unused = sorted(set(listed) - set(minters) - {settings.provisioner})
    if not unused:
        return None
    names = ", ".join(f"'{name}'" for name in unused[:_MOST_NAMES]) + ", …" * (len(unused) > _MOST_NAMES)
    what = f"no certificate of a declared service comes from these provisioners of the CA: {names}"
    return Finding(
        "provisioners-unused", "ok", what, "if nobody else uses one, step ca provisioner remove NAME at the CA"
    )
