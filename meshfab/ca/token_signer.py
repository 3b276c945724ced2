"""Who signs a one-time token: the provisioner's key in memory, or the same key in ssh-agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from meshfab.errors import MintError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


class TokenSigner(Protocol):
    """Signs with a provisioner's key.

    Attributes:
        algorithm: JWS's name for it (RFC 7518, 3.1; RFC 8037).
        key_id: the `kid` of the key at the CA.
    """

    @property
    def algorithm(self) -> str: ...  # noqa: D102

    @property
    def key_id(self) -> str: ...  # noqa: D102

    def sign(self, message: bytes) -> bytes:
        """The signature in JWS's form."""
        ...


@dataclass(frozen=True)
class KeySigner:
    """The provisioner's key in memory, on the curve P-256."""

    key_id: str
    key: EllipticCurvePrivateKey
    algorithm: str = "ES256"

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"KeySigner({self.key_id!r})"

    def sign(self, message: bytes) -> bytes:
        """Sign by ES256: r and s, 32 bytes each (RFC 7518, 3.4)."""
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256

        r, s = utils.decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass(frozen=True)
class AgentSigner:
    """The provisioner's key in ssh-agent, which may ask a person each time (`ssh-add -c`).

    Threads may share it: one signs after the other, as questions and answers of all would mix on the agent's socket.

    Attributes:
        key_id: the `kid` of the key at the CA.
        key: a `paramiko.AgentKey` of the type ecdsa-sha2-nistp256 or ssh-ed25519.
        lock: held while the agent is asked: threads share its connection, and a person is asked one thing at a time.
    """

    key_id: str
    key: Any
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def algorithm(self) -> str:
        """ES256, or EdDSA for an Ed25519 key."""
        return "EdDSA" if self.key.get_name() == "ssh-ed25519" else "ES256"

    def sign(self, message: bytes) -> bytes:
        """Have the agent sign.

        Raises:
            MintError: the agent refuses, as when the person says no.
        """
        from paramiko import Message
        from paramiko.ssh_exception import SSHException

        try:
            with self._lock:
                signature = Message(bytes(self.key.sign_ssh_data(message)))
        except (SSHException, OSError, EOFError) as error:
            what = f"ssh-agent does not sign with the provisioner's key ({one_line(str(error))[:200]})"
            remedy = "was it refused at the agent's prompt (ssh-add -c), or has the agent ended? run this again"
            raise MintError(what, remedy=remedy) from None
        signature.get_text()
        blob = signature.get_binary()
        if self.algorithm == "EdDSA":
            return blob
        # RFC 5656, 3.1.2: r and s as two mpints.
        numbers = Message(blob)
        return b"".join(numbers.get_mpint().to_bytes(32, "big") for _ in range(2))
