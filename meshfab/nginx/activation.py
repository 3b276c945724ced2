"""Install files into nginx's configuration and load it, remove them again, and explain what can fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import LockedError, MeshfabError, NginxError
from meshfab.nginx import config_dump, listeners, sockets
from meshfab.ssh.script import Answer, ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.nginx.change import NginxChange

_BACK = "what was there before is back in place"
# What the scripts print of an nginx that was to be started, after they have restored the old files.
_STARTED_AGAIN = {"started": ", and nginx runs with it", "stopped": ", and nginx is stopped: it does not start with it"}


@dataclass(frozen=True)
class Activation:
    """What one service needs from a load of nginx.

    Attributes:
        names: the service's names, none of which nginx may ignore.
        change: the files to install.
        starts: whether nginx is to be started, where it would be reloaded otherwise.
    """

    names: tuple[str, ...]
    change: NginxChange
    starts: bool = False


def install(state: HostState, activations: Sequence[Activation]) -> Request:
    """Install the files, test the configuration and load it; the script restores the old files when nginx refuses."""
    loaded = [activation for activation in activations if activation.change.is_loaded]
    action = _action(loaded) if loaded else ""
    if (
        action == "reload"
        and any(activation.change.vhost_path for activation in loaded)
        and config_dump.is_port_free(state, 443)
    ):
        action = "open"
    names = " ".join(name for activation in loaded for name in activation.names)
    file_args = [word for activation in activations for word in _file_args(activation.change)]
    return Request("install_config", (action, *nginx_args(state), names, *file_args))


def reload(state: HostState, activations: Sequence[Activation]) -> Request:
    """Test the configuration, then load it."""
    return Request("reload", (_action(activations), *nginx_args(state)))


def remove(state: HostState, activations: Sequence[Activation], *, is_installed: bool) -> Request:
    """Remove the files of this run again; only load the configuration if there are none, or the script removed them."""
    file_args = [
        word
        for activation in activations
        for file, link in zip(activation.change.files, _links(activation.change), strict=True)
        if is_installed and activation.change.reason
        for word in (file.path, link, file.digest)
    ]
    # Sockets of the new files would be in the way of a reload.
    action = "restart" if any(activation.starts for activation in activations) else "reload"
    return Request("remove_config", (action, *nginx_args(state), *file_args))


def explain(answer: Answer, state: HostState) -> MeshfabError:
    """The error for a failed install_config.sh, reload.sh or remove_config.sh."""
    if answer.status == ExitStatus.NOT_TAKEN_UP:
        what, remedy = _not_taken_up(config_dump.error_line(answer.err), state)
        return NginxError(what, host=state.host, remedy=f"{remedy}; {_BACK}")
    if answer.status == ExitStatus.BUSY:
        return LockedError(answer.err, host=state.host, remedy="try again when that has ended")
    written = (f"nginx's files could not be written: {answer.err}", "repair that; ")
    not_included = f"nginx's configuration includes nothing at {answer.err}"
    explanations: dict[int, tuple[str, str]] = {
        ExitStatus.CONFIG_REFUSED: (f"nginx refuses the configuration: {config_dump.error_line(answer.err)}", ""),
        ExitStatus.SERVER_IGNORED: (f"nginx would ignore a server: {answer.err}", "take one out; "),
        ExitStatus.NOT_INCLUDED: (not_included, "include it, or set meshfab.conf_dir; "),
        ExitStatus.LOAD_FAILED: (f"systemd could not load nginx: {answer.err}", "see `journalctl -u nginx` there; "),
    }
    what, remedy = explanations.get(answer.status, written)
    return NginxError(what, host=state.host, remedy=remedy + _BACK + _STARTED_AGAIN.get(answer.text, ""))


def _not_taken_up(output: str, state: HostState) -> tuple[str, str]:
    """What is wrong and what to do, when a reload did not take effect."""
    what, remedy = f"nginx was reloaded, but did not use the new configuration: {output}", "repair that"
    # load_nginx of library.sh adds who has the port.
    match = re.search(r":(\d{1,5}) failed \(98:.{0,64}, by ([\w.-]{1,32})$", output)
    if match and match[2] == "nginx":
        return f"{sockets.CANNOT_CHANGE}: {output}", sockets.HOW_TO_CHANGE
    if match:
        location = listeners.listener(state, int(match[1]))
        remedy = f"stop {match[2]} there" + f", or take the `listen` at {location} out" * bool(location)
    return what, remedy


def nginx_args(state: HostState) -> tuple[str, str]:
    """Arguments for `load` in library.sh: nginx's error log, and the process that reloads."""
    return config_dump.error_log(state), state.unit("nginx.service").main_pid


def _action(activations: Sequence[Activation]) -> str:
    return "start" if any(activation.starts for activation in activations) else "reload"


def _file_args(change: NginxChange) -> list[str]:
    """Arguments for install_config.sh for each file: path, link, name in `nginx -T`, text."""
    dump_path = change.vhost_path.link or change.vhost_path.path if change.vhost_path else change.files[0].path
    if not change.is_loaded:
        dump_path = ""
    args = []
    for file, link in zip(change.files, _links(change), strict=True):
        args += [file.path, link, dump_path, file.text]
        dump_path = ""
    return args


def _links(change: NginxChange) -> list[str]:
    """The link to each file; only the first file, a vhost, may need one."""
    return [change.link if number == 0 else "" for number in range(len(change.files))]
