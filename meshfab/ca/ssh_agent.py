"""The provisioner's key in the operator's own ssh-agent.

It is the agent of SSH_AUTH_SOCK on this machine. It is never lent to a host: the root shell asks for no forwarding.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from meshfab.ca import public_jwk
from meshfab.ca.token_signer import AgentSigner
from meshfab.config.password import require_operator
from meshfab.errors import InputError, MintError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshfab.ca.jwk_provisioner import JwkProvisioner

_REMEDY = "start ssh-agent here, and add the provisioner's key to it with ssh-add"


def open_agent() -> Any:
    """Connect to the operator's ssh-agent; returns a `paramiko.Agent`, which must be closed.

    Raises:
        InputError: there is none.
        NotReadyError: this is a worker process of check-certs or of Dask.
    """
    require_operator()
    from paramiko.agent import Agent
    from paramiko.ssh_exception import SSHException

    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise InputError("signing: agent needs ssh-agent, and SSH_AUTH_SOCK is not set", remedy=_REMEDY)
    # paramiko's Agent is empty in both cases: an agent that is gone, and one without keys.
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
    except OSError as error:
        what = f"signing: agent needs ssh-agent, and none answers at SSH_AUTH_SOCK ({path}: {error.strerror or error})"
        raise InputError(what, remedy=_REMEDY) from None
    try:
        return Agent()
    except (SSHException, OSError) as error:
        raise InputError(f"ssh-agent does not list its keys ({one_line(str(error))[:200]})", remedy=_REMEDY) from None


def signer_for(keys: Iterable[Any], provisioner: JwkProvisioner) -> AgentSigner:
    """The agent's key that is the provisioner's, by the public key that the CA lists.

    Args:
        keys: the keys in the agent, each a `paramiko.AgentKey`.
        provisioner: as the CA lists it.

    Raises:
        MintError: the agent does not have that key, or the CA has one of another kind.
    """
    try:
        public = public_jwk.to_ssh_key(provisioner.public)
    except ValueError as error:
        what = (
            f"the key of provisioner '{provisioner.name}' is {one_line(str(error))}, with which no ssh-agent can sign"
        )
        remedy = "make a provisioner whose key can be in the agent: inv provisioner-key"
        raise MintError(what, remedy=remedy) from None
    blobs = {key.blob: key for key in keys}
    if public in blobs:
        return AgentSigner(provisioner.key_id, blobs[public])
    fingerprint = public_jwk.ssh_fingerprint(public)
    if any(public_jwk.is_security_key(blob, public) for blob in blobs):
        raise _is_fido(f"the key of provisioner '{provisioner.name}' ({fingerprint})")
    what = f"ssh-agent does not have the key of provisioner '{provisioner.name}' ({fingerprint})"
    raise MintError(what, remedy="add it with ssh-add; `ssh-add -l` shows what is there")


def signer_by_label(keys: Iterable[Any], label: str) -> AgentSigner:
    """The agent's key with that fingerprint or comment, for a CA that does not list its provisioners.

    Raises:
        MintError: no key or several have it, or the key cannot sign a token.
    """
    key = labelled(keys, label)
    return AgentSigner(jwk_of(key)["kid"], key)


def labelled(keys: Iterable[Any], label: str) -> Any:
    """The agent's key with that fingerprint (`SHA256:…`) or comment.

    Raises:
        MintError: no key or several have it.
    """
    found = [key for key in keys if label in (key.comment, public_jwk.ssh_fingerprint(key.blob))]
    if len(found) == 1:
        return found[0]
    what = f"ssh-agent has {'several keys' if found else 'no key'} with the fingerprint or comment '{label}'"
    raise MintError(what, remedy="see `ssh-add -l`, and take the fingerprint" if found else "add it with ssh-add")


def jwk_of(key: Any) -> dict[str, str]:
    """The public JWK of a key in the agent.

    Raises:
        MintError: it cannot sign a token.
    """
    try:
        return public_jwk.of_ssh_key(key.blob)
    except ValueError as error:
        if str(error).startswith("sk-"):
            raise _is_fido(f"the key '{one_line(key.comment)[:80]}'") from None
        what = f"the key '{one_line(key.comment)[:80]}' is {one_line(str(error))}, which cannot sign a token here"
        raise MintError(what, remedy="take an ECDSA key on P-256 or an Ed25519 key: inv provisioner-key") from None


def _is_fido(subject: str) -> MintError:
    what = f"{subject} is a FIDO key (sk-…) in ssh-agent, which signs other data than tokens"
    return MintError(what, remedy="take a key in a file or on a PIV card: inv provisioner-key")
