"""Verify a host key against the known_hosts files that `ssh` would read; an error names the commands to run."""

from __future__ import annotations

import os
import shlex
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.errors import HostKeyError
from meshfab.ssh import known_hosts, revoked_keys

if TYPE_CHECKING:
    from fabric import Connection

_USER_FILES = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_FILES = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


def known_hosts_files(connection: Connection) -> list[Path]:
    """The known_hosts files of a host, the user's first. New keys are added to the first one."""
    options = connection.ssh_config
    paths = [
        *shlex.split(options.get("userknownhostsfile", _USER_FILES)),
        *shlex.split(options.get("globalknownhostsfile", _GLOBAL_FILES)),
    ]
    return [Path(path).expanduser() for path in paths if path != "none"]


def records_of(connection: Connection) -> known_hosts.HostKeyRecords:
    """The entries for a host in its known_hosts files."""
    versions = []
    for file in known_hosts_files(connection):
        try:
            stat = file.stat()
        except OSError:
            continue
        versions.append((file, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return known_hosts.lookup(
        _index(tuple(versions)), connection.host, connection.port, connection.ssh_config.get("hostkeyalias", "")
    )


@lru_cache(maxsize=8)
def _index(versions: tuple[tuple[Path, int, int, int], ...]) -> known_hosts.KnownHostsIndex:
    """The parsed files. check-certs needs them for each host, so they are cached until inode, size or time changes."""
    texts = []
    for file, *_version in versions:
        try:
            texts.append((str(file), file.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue
    return known_hosts.parse(texts)


def require_known(connection: Connection, records: known_hosts.HostKeyRecords, key: Any) -> None:
    """Refuse a host key that is not in known_hosts.

    Raises:
        HostKeyError: it is unknown, changed or revoked, or a certificate is required; with the commands to run.
    """
    revoked_keys.require_not_revoked(connection, key)
    verdict, location = records.verdict(key.get_name(), key.asbytes())
    if verdict == "known":
        return
    name = known_hosts.host_name(connection.host, connection.port, connection.ssh_config.get("hostkeyalias", ""))
    scan = f"ssh-keyscan{'' if connection.port == 22 else f' -p {connection.port}'} {connection.host}"
    add = f"`{scan} >> ~/.ssh/known_hosts`"
    observed = f"{key.get_name()} {key.fingerprint}"
    what, remedy = {
        "unknown": (
            f"the host key is unknown ({observed}); nothing was sent",
            f"{add}, then compare with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` at its console",
        ),
        "changed": (
            f"the host key is NOT the one at {location} (it is {observed}): it may be an attack; nothing was sent",
            f"if the host was reinstalled, `ssh-keygen -R '{name}'`, `{scan}`, and compare at its console",
        ),
        "revoked": (
            f"the host key is revoked at {location}; nothing was sent",
            "do not use this host until its keys are replaced",
        ),
        "authority": (
            f"only a certificate of the CA at {location} is accepted, and Fabric cannot verify one; nothing was sent",
            f"add the host's own key: {add}, and compare it at its console",
        ),
    }[verdict]
    raise HostKeyError(what, host=connection.original_host, remedy=remedy)


class KnownHostsPolicy:
    """A policy for paramiko's `set_missing_host_key_policy`.

    paramiko calls it for hosts without a key in paramiko's own store. That store stays empty, so this policy decides
    for every host.
    """

    def __init__(self, connection: Connection, records: known_hosts.HostKeyRecords, accept_new: bool) -> None:
        self.connection, self.records, self.accept_new = connection, records, accept_new

    def missing_host_key(self, _client: object, _hostname: str, key: Any) -> None:
        """Accept the host's key, or refuse it with a HostKeyError; paramiko calls this during the handshake."""
        verdict, _ = self.records.verdict(key.get_name(), key.asbytes())
        if self.accept_new and verdict == "unknown":
            revoked_keys.require_not_revoked(self.connection, key)
            self._add(key)
        else:
            require_known(self.connection, self.records, key)

    def _add(self, key: Any) -> None:
        connection, file = self.connection, known_hosts_files(self.connection)[0]
        name = known_hosts.host_name(connection.host, connection.port, connection.ssh_config.get("hostkeyalias", ""))
        if connection.ssh_config.get("hashknownhosts", "no") == "yes":
            name = known_hosts.hash_name(name)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="ascii") as out:
            # In a file that was edited by hand, the last line may not end with a newline.
            newline = "" if file.read_bytes()[-1:] in (b"", b"\n") else "\n"
            out.write(f"{newline}{name} {key.get_name()} {key.get_base64()}\n")
        message = f"{connection.original_host}: the host key was unknown and was added to {file} ({key.fingerprint})"
        print(f"warning: {message} -> compare it at its console", file=sys.stderr)
