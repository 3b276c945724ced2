"""What the settings file of a project may decide. It may be somebody else's, so it decides nothing about trust.

The file is found by the folder, upwards, and overrides the user's own. So it must belong to the user, as git requires
of a repository (safe.directory in git-config(1), CVE-2022-24765). It also comes with a repository that the user cloned,
so even then it may not set what runs here, what is believed, or which file goes to the hosts as the password.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshfab.errors import InputError

# Settings below `meshfab` that a project cannot set unless the user trusts it.
_POLICY = (
    *(
        "provisioner_password",
        "provisioner_password_command",
        "provisioner_key",
        "agent_key",
        "root_fingerprint",
        "operator_root",
    ),
    *("ssh_config", "host_keys", "snippets"),
    # What runs as root on every host, and whom the hosts call.
    *("notify", "ping_url"),
    # It names a program that runs here, a key, and a file that root writes on a host.
    "dns",
)
# The same for Fabric's own keys: a `gateway` that is text and an SSH configuration name programs that run here, and the
# others decide which keys are offered, and to whom.
_FABRIC_POLICY = ("authentication", "connect_kwargs", "forward_agent", "gateway", "load_ssh_configs", "ssh_config_path")
_TRUST = "trusted_projects"
_VARIABLE = "MESHFAB_TRUSTED_PROJECTS"


def require_trusted(config: Any, trusted: object) -> None:
    """Refuse a project's settings file that others can change, or that sets what only the user decides.

    Args:
        config: an Invoke or Fabric configuration; a plain mapping has no project.
        trusted: the setting `trusted_projects`.

    Raises:
        InputError: the file is refused; the message has the line that allows it.
    """
    # Private attributes, but nothing else tells which file was read and what it set. A clone keeps them.
    path, content = getattr(config, "_project_path", None), getattr(config, "_project", None)
    # Invoke takes an invoke.py that does not exist for an empty one.
    if not isinstance(path, str) or not isinstance(content, Mapping) or not content:
        return
    file = Path(path).absolute()
    block = content.get("meshfab")
    block = block if isinstance(block, Mapping) else {}
    user_file = f"~/.{file.stem}.yaml"
    if _TRUST in block:
        what = f"{file} sets meshfab.{_TRUST}, and a project cannot trust itself"
        raise InputError(what, remedy=f"move it to {user_file}")
    if file.parent.resolve() in _trusted_folders(trusted):
        return
    # JSON's quotes are YAML's too: nothing in the name of a folder adds a setting to the line that the user copies.
    line = f"meshfab: {{{_TRUST}: [{json.dumps(str(file.parent))}]}}"
    how = f"if you trust the project, write `{line}` in {user_file}, or set {_VARIABLE}"
    _require_own(file, how)
    policy = [f"meshfab.{key}" for key in _POLICY if key in block] + [key for key in _FABRIC_POLICY if key in content]
    if block.get("signing") == "host":
        # A user who signs on this machine would send the password after all. The other way round is safe.
        policy.append("meshfab.signing: host")
    if policy:
        what = f"{file} sets {policy[0]}, which a project may not decide"
        raise InputError(what, remedy=f"move it to {user_file}; or {how}")


def _trusted_folders(trusted: object) -> set[Path]:
    listed = trusted if isinstance(trusted, (list, tuple)) else ()
    words = [*listed, *os.environ.get(_VARIABLE, "").split(os.pathsep)]
    folders = [Path(word).expanduser() for word in words if isinstance(word, str)]
    # A relative path would trust whatever folder the user stands in.
    return {folder.resolve() for folder in folders if folder.is_absolute()}


def _require_own(file: Path, how: str) -> None:
    """Check the owner and the mode of the file and its folder; if they are links, also of what they lead to."""
    paths = (file, file.parent, file.resolve(), file.resolve().parent, file.parent.resolve())
    for path in dict.fromkeys(paths):
        try:
            status = path.lstat()
        except OSError as error:
            raise InputError(f"{path} cannot be examined ({error.strerror})") from None
        if status.st_uid not in _own_users():
            raise InputError(f"{path} belongs to {_user_name(status.st_uid)}, so its settings are refused", remedy=how)
        if _is_writable_by_others(status):
            what = f"{path} can be written by others ({stat.S_IMODE(status.st_mode):04o}), so its settings are refused"
            raise InputError(what, remedy=f"chmod go-w {shlex.quote(str(path))}; or {how}")


def _own_users() -> set[int]:
    users = {os.geteuid(), 0}
    # As git does: under sudo, root uses the files of the user who called it.
    sudo_user = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and sudo_user.isdecimal():
        users.add(int(sudo_user))
    return users


def _is_writable_by_others(status: os.stat_result) -> bool:
    # A link has no mode of its own. In a sticky folder, such as /tmp, nobody can replace a file of another user.
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status)


def _is_private_group(status: os.stat_result) -> bool:
    """Whether nobody else is in the group: many systems give each user a group of the same name, and umask 002."""
    try:
        user, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return user.pw_gid == group.gr_gid and user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
