"""The provisioner's key on the operator's side, which signs requests and revocations: no host sees it, nor a token."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from meshfab.ca import encrypted_key, jwk_provisioner, ssh_agent
from meshfab.ca.client import CaClient, UnreachableCaError, read_root
from meshfab.ca.signing import RequestSigner
from meshfab.errors import InputError, MeshfabError, MintError, RevokeError
from meshfab.host import certificate_chain
from meshfab.ssh.tunnel import open_tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection

    from meshfab.ca.certificate_request import CertificateRequest
    from meshfab.ca.token_signer import AgentSigner, KeySigner, TokenSigner
    from meshfab.config.password import Password
    from meshfab.config.settings import Settings

T = TypeVar("T")


class OperatorSigner:
    """The provisioner's key for one run, however many hosts: unlocked once, when the first pair is needed.

    Args:
        settings: the mesh's conventions.
        password: opens the key, which the CA publishes encrypted, or the file of `provisioner_key` holds; None takes
            the key in ssh-agent.

    Raises:
        InputError: that file, or the operator's own root, cannot be read; or the root is not the pinned one; or there
            is no ssh-agent.
    """

    def __init__(self, settings: Settings, password: Password | None) -> None:
        self._settings, self._password = settings, password
        self.root_pem = read_root(settings.operator_root_file)
        self.root_fingerprint = _root_fingerprint(self.root_pem, settings)
        key_file = settings.provisioner_key if password else None
        self._encrypted_key = encrypted_key.read_encrypted_key(Path(key_file).expanduser()) if key_file else ""
        self._client = CaClient(settings.ca_url, self.root_pem)
        self._key: TokenSigner | None = None
        self._agent: Any = None if password else ssh_agent.open_agent()
        self._lock, self._why_unreached = Lock(), ""
        self._early_lock = Lock()
        self._early: Thread | None = None

    def __repr__(self) -> str:
        """Leave out the key and the password."""
        return f"OperatorSigner({self._settings.ca_url!r})"

    def close(self) -> None:
        """Close the connections to the CA and to ssh-agent."""
        self._client.close()
        if self._agent:
            self._agent.close()

    def unlock_early(self) -> None:
        """Get and unlock the key in a thread, once, where a pair will probably be needed. It takes 130 ms.

        An error is not reported here: it is found again when there is something to sign. The key in ssh-agent needs no
        unlocking.
        """
        if self._password is None:
            return
        thread = Thread(target=self._get_key_early, name="unlock", daemon=True)
        with self._early_lock:
            if self._early is None:
                self._early = thread
                thread.start()

    def _get_key_early(self) -> None:
        try:
            self._signer(self._client)
        except UnreachableCaError as error:
            self._why_unreached = error.what
        except MeshfabError:
            pass

    def sign(self, request: CertificateRequest, c: Connection) -> str:
        """Have a request signed, and return the chain, PEM.

        Args:
            request: the request.
            c: the host's connection. Where this machine does not reach the CA, the host forwards the TLS connection.

        Raises:
            InputError: the password does not open the provisioner's key.
            MintError: the CA is not reached or refuses, or ssh-agent lacks the key or does not sign.
        """
        return self._ask(c, lambda signer: signer.sign(request))

    def revoke(self, serial: int, c: Connection | None = None) -> bool:
        """Have the CA renew the certificate of a serial no more; False if it was revoked already.

        Args:
            serial: the serial.
            c: a host's connection, for a machine that does not reach the CA.

        Raises:
            InputError: the password does not open the provisioner's key.
            RevokeError: the CA is not reached, or refuses.
        """
        try:
            return self._ask(c, lambda signer: signer.revoke(serial))
        except MintError as error:
            raise RevokeError(error.what, host=error.host, remedy=error.remedy) from None

    def _ask(self, c: Connection | None, question: Callable[[RequestSigner], T]) -> T:
        """Ask the CA from this machine, or through the host where this machine does not reach it."""
        if c is None:
            return question(self._signer(self._client))
        if not self._why_unreached:
            try:
                return question(self._signer(self._client))
            except UnreachableCaError as error:
                self._why_unreached = error.what
        dial = partial(open_tunnel, c, self._client.host, self._client.port)
        with closing(CaClient(self._settings.ca_url, self.root_pem, dial)) as client:
            try:
                return question(self._signer(client))
            except UnreachableCaError as error:
                raise MintError(
                    f"{self._why_unreached}, nor through the host", host=c.original_host, remedy=error.remedy
                ) from None

    def _signer(self, client: CaClient) -> RequestSigner:
        """One thread gets the key; the others wait for it."""
        with self._lock:
            if self._key is None:
                self._key = self._unlock(client, self._password) if self._password else self._key_of_agent(client)
            return RequestSigner(client, self._key, self._settings.provisioner, self.root_fingerprint)

    def _unlock(self, client: CaClient, password: Password) -> KeySigner:
        if self._encrypted_key:
            return encrypted_key.unlock(self._encrypted_key, password.reveal())
        provisioner = jwk_provisioner.find(client, self._settings.provisioner)
        if not provisioner.encrypted_key:
            what = f"the CA at {client.url} does not publish the key of '{provisioner.name}'"
            raise MintError(what, remedy="set meshfab.provisioner_key, or use signing: host or agent")
        return encrypted_key.unlock(provisioner.encrypted_key, password.reveal(), provisioner.key_id)

    def _key_of_agent(self, client: CaClient) -> AgentSigner:
        keys = self._agent.get_keys()
        if self._settings.agent_key:
            return ssh_agent.signer_by_label(keys, self._settings.agent_key)
        try:
            provisioner = jwk_provisioner.find(client, self._settings.provisioner)
        except MintError as error:
            # A CA may keep the list from the outside.
            error.remedy = error.remedy or "set meshfab.agent_key to the key's fingerprint, which `ssh-add -l` shows"
            raise
        return ssh_agent.signer_for(keys, provisioner)


def _root_fingerprint(pem: str, settings: Settings) -> str:
    """The SHA-256 of the operator's root, hex; if one is pinned, it must be that."""
    fingerprints = certificate_chain.fingerprints(pem)
    if not fingerprints:
        raise InputError(
            f"the root {settings.operator_root_file} holds no certificate",
            remedy="set meshfab.operator_root to the mesh's root certificate on this machine",
        )
    pin = settings.root_fingerprint or fingerprints[0]
    if pin not in fingerprints:
        what = f"{settings.operator_root_file} is not the pinned root {pin}"
        raise InputError(what, remedy="set meshfab.operator_root or meshfab.root_fingerprint to the right one")
    return pin
