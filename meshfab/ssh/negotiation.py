"""The negotiation of algorithms with an SSH server: an error names what the server offers.

Import it inside functions: paramiko imports slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paramiko import Transport
from paramiko.kex_curve25519 import KexCurve25519
from paramiko.ssh_exception import IncompatiblePeer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paramiko.message import Message

# RFC 8731's name for what paramiko knows only by its older name; a hardened sshd may offer just this one.
_CURVE25519 = "curve25519-sha256"
_SHOWN = 8


class NoCommonAlgorithm(IncompatiblePeer):
    """Both sides have no algorithm in common.

    Attributes:
        option: the option of sshd_config(5) that lists what the host offers.
        supported: what it could offer, most preferred first.
    """

    def __init__(self, option: str, offered: Sequence[str], supported: Sequence[str]) -> None:
        shown = ", ".join(name[:64] for name in offered[:_SHOWN]) or "nothing"
        super().__init__(f"its {option} are {shown}, none of which is supported here")
        self.option, self.supported = option, tuple(supported)


class NegotiatingTransport(Transport):
    """paramiko's transport, with errors that name what the host offers, and curve25519 by its standard name."""

    _kex_info = {**Transport._kex_info, _CURVE25519: KexCurve25519}  # type: ignore[attr-defined]  # noqa: RUF012
    # After what paramiko prefers to all others, which resists quantum computers, if its version has that.
    _preferred_kex = tuple(
        dict.fromkeys((*Transport._preferred_kex[:1], _CURVE25519, *Transport._preferred_kex))  # type: ignore[attr-defined]
    )
    _offered: Mapping[str, Sequence[str]]

    def _really_parse_kex_init(self, m: Message, ignore_first_byte: bool = False) -> Any:
        # paramiko logs the lists and forgets them.
        self._offered = super()._really_parse_kex_init(m, ignore_first_byte)  # type: ignore[misc]
        return self._offered

    def _parse_kex_init(self, m: Message) -> None:
        try:
            super()._parse_kex_init(m)  # type: ignore[misc]
        except IncompatiblePeer as error:
            raise self._explain(error) from None

    def _explain(self, error: IncompatiblePeer) -> IncompatiblePeer:
        """The first kind of algorithm (RFC 4253, 7.1) of which both sides have none in common."""
        kinds: tuple[tuple[str, str, Sequence[str]], ...] = (
            ("KexAlgorithms", "kex_algo_list", self.preferred_kex),
            ("HostKeyAlgorithms", "server_key_algo_list", self.preferred_keys),
            ("Ciphers", "server_encrypt_algo_list", self.preferred_ciphers),
            ("Ciphers", "client_encrypt_algo_list", self.preferred_ciphers),
            ("MACs", "server_mac_algo_list", self.preferred_macs),
            ("MACs", "client_mac_algo_list", self.preferred_macs),
        )
        for option, field, supported in kinds:
            if not set(self._offered[field]) & set(supported):
                return NoCommonAlgorithm(option, self._offered[field], supported)
        return error
