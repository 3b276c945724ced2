"""Verify a host's key against the files that `ssh` would read, and say what to run when it is not there."""

from __future__ import annotations

import os
import shlex
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.errors import HostKeyError
from meshfab.ssh import known_hosts

if TYPE_CHECKING:
    from fabric import Connection

_USER_FILES = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_FILES = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


def files(connection: Connection) -> list[Path]:
    """The known_hosts files of a host, the user's first: new keys are recorded in the first one."""
    options = connection.ssh_config
    paths = [
        *shlex.split(options.get("userknownhostsfile", _USER_FILES)),
        *shlex.split(options.get("globalknownhostsfile", _GLOBAL_FILES)),
    ]
    return [Path(word).expanduser() for word in paths if word != "none"]


def known(connection: Connection) -> known_hosts.HostKeyRecords:
    """The records of a host in the files."""
    stamps = []
    for file in files(connection):
        try:
            stat = file.stat()
        except OSError:
            continue
        stamps.append((file, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return known_hosts.lookup(
        _index(tuple(stamps)), connection.host, connection.port, connection.ssh_config.get("hostkeyalias", "")
    )


@lru_cache(maxsize=8)
def _index(stamps: tuple[tuple[Path, int, int, int], ...]) -> known_hosts.KnownHostsIndex:
    """The parsed files; read again when one has changed, since check-certs needs them once for each host."""
    texts = []
    for file, *_stamp in stamps:
        try:
            texts.append((str(file), file.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue
    return known_hosts.read(texts)


def judge(connection: Connection, on_record: known_hosts.HostKeyRecords, key: Any) -> None:
    """Refuse a key, with the reason and the commands to run.

    Raises:
        HostKeyError: it is unknown, changed, revoked, or a certificate is required.
    """
    verdict, location = on_record.verdict(key.get_name(), key.asbytes())
    if verdict == "known":
        return
    name = known_hosts.name_of(connection.host, connection.port, connection.ssh_config.get("hostkeyalias", ""))
    scan = f"ssh-keyscan{'' if connection.port == 22 else f' -p {connection.port}'} {connection.host}"
    record = f"`{scan} >> ~/.ssh/known_hosts`"
    observed = f"{key.get_name()} {key.fingerprint}"
    what, remedy = {
        "unknown": (
            f"the host key is unknown ({observed}); nothing was sent",
            f"{record}, then compare with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` at its console",
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
            f"only a certificate of the CA at {location} would do, which Fabric cannot check; nothing was sent",
            f"put the host's own key on record: {record}, and compare it at its console",
        ),
    }[verdict]
    raise HostKeyError(what, host=connection.original_host, remedy=remedy)


class Policy:
    """paramiko's policy for hosts that it has no key of. That is every host: the records are read here."""

    def __init__(self, connection: Connection, on_record: known_hosts.HostKeyRecords, accept_new: bool) -> None:
        self.connection, self.on_record, self.accept_new = connection, on_record, accept_new

    def missing_host_key(self, _client: object, _hostname: str, key: Any) -> None:
        """Called by paramiko with the host's key."""
        verdict, _ = self.on_record.verdict(key.get_name(), key.asbytes())
        if self.accept_new and verdict == "unknown":
            self._record(key)
        else:
            judge(self.connection, self.on_record, key)

    def _record(self, key: Any) -> None:
        connection, file = self.connection, files(self.connection)[0]
        name = known_hosts.name_of(connection.host, connection.port, connection.ssh_config.get("hostkeyalias", ""))
        if connection.ssh_config.get("hashknownhosts", "no") == "yes":
            name = known_hosts.hashed(name)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="ascii") as out:
            # The last line of a file that was edited by hand may lack its newline.
            end = "" if file.read_bytes()[-1:] in (b"", b"\n") else "\n"
            out.write(f"{end}{name} {key.get_name()} {key.get_base64()}\n")
        message = f"{connection.original_host}: its key was unknown and is on record now in {file} ({key.fingerprint})"
        print(f"warning: {message} -> compare it at its console", file=sys.stderr)
