"""RevokedHostKeys of ssh_config(5): keys that no host may have, though known_hosts lists them.

As with OpenSSH (sshkey_check_revoked in authfile.c), the file is a list of public keys or a key revocation list (KRL),
and a file that cannot be read refuses every host.
"""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.errors import HostKeyError

if TYPE_CHECKING:
    from fabric import Connection

# PROTOCOL.krl of OpenSSH, section 1.
_KRL_MAGIC = b"SSHKRL\n\0"
_SSH_KEYGEN_SECONDS = 10


class _UnreadableError(Exception):
    """Why a file of revoked keys cannot be used."""


def require_not_revoked(connection: Connection, key: Any) -> None:
    """Refuse a host key that a file of RevokedHostKeys revokes.

    Raises:
        HostKeyError: the key is revoked, or a file cannot be read.
    """
    for file in _files(connection.ssh_config.get("revokedhostkeys", "none")):
        try:
            is_revoked = _revokes(file, key)
        except _UnreadableError as error:
            what = f"RevokedHostKeys {file} cannot be read ({error}), so no host key is accepted; nothing was sent"
            remedy = "correct the file, or RevokedHostKeys in the SSH configuration"
            raise HostKeyError(what, host=connection.original_host, remedy=remedy) from None
        if is_revoked:
            what = f"the host key is revoked by {file} (RevokedHostKeys); nothing was sent"
            remedy = "do not use this host until its keys are replaced"
            raise HostKeyError(what, host=connection.original_host, remedy=remedy)


def _files(option: str) -> list[Path]:
    """The files of the option. paramiko removes the quotes around a single path, which may then have blanks."""
    if option == "none":
        return []
    whole = Path(option).expanduser()
    try:
        return [whole] if whole.exists() else [Path(word).expanduser() for word in shlex.split(option)]
    except ValueError:
        return [whole]


def _revokes(file: Path, key: Any) -> bool:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _UnreadableError(error.strerror or type(error).__name__) from None
    if content.startswith(_KRL_MAGIC):
        return _krl_revokes(file, key)
    return key.asbytes() in _listed(content)


def _listed(content: bytes) -> set[bytes]:
    blobs = set()
    for number, line in enumerate(content.split(b"\n"), 1):
        fields = re.split(rb"[ \t]+", line.strip(b" \t\r"))
        if not fields[0] or fields[0].startswith(b"#"):
            continue
        try:
            key_type, blob = fields[0], base64.b64decode(fields[1], validate=True)
        except (IndexError, ValueError):
            raise _UnreadableError(f"line {number} is not a public key") from None
        # The key repeats its type (RFC 4253, 6.6).
        if not blob.startswith(len(key_type).to_bytes(4, "big") + key_type):
            raise _UnreadableError(f"line {number} is not a public key")
        blobs.add(blob)
    return blobs


def _krl_revokes(file: Path, key: Any) -> bool:
    # The format has compressed sets of keys, so OpenSSH's own program reads it.
    argv = ["ssh-keygen", "-Q", "-f", str(file), "/dev/stdin"]
    line = f"{key.get_name()} {key.get_base64()}\n"
    try:
        done = subprocess.run(
            argv, input=line, capture_output=True, text=True, check=False, timeout=_SSH_KEYGEN_SECONDS
        )
    except FileNotFoundError:
        raise _UnreadableError("a KRL needs the program ssh-keygen") from None
    except subprocess.TimeoutExpired:
        raise _UnreadableError("ssh-keygen does not end") from None
    # 0: not revoked; 1: revoked; 255: an error.
    if done.returncode not in (0, 1):
        raise _UnreadableError(done.stderr.strip() or "ssh-keygen fails")
    return done.returncode == 1
