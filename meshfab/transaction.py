"""How files of ours get into nginx's configuration and are loaded, how they are taken back, and what can go wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshfab import listening, nginx
from meshfab.errors import LockedError, MeshfabError, NginxError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from meshfab.plan import Plan
    from meshfab.probe import HostState

_BACK = "what was there before is back in place"


def wire(state: HostState, todo: Plan) -> Request:
    """Put the files in, try the configuration and load it; what was there before comes back when nginx refuses."""
    wiring = todo.wiring
    shown = wiring.place.link or wiring.place.path if wiring.place else wiring.files[0].path
    words = [word for file in wiring.files for word in (file.path, file.text)]
    action = _action(todo) if wiring.is_loaded else ""
    if action == "reload" and wiring.place and nginx.is_free(state, 443):
        action = "open"
    return Request("wire", (wiring.link, action, nginx.error_log(state), " ".join(todo.service.names), shown, *words))


def reload(state: HostState, todo: Plan) -> Request:
    """Try the configuration, then load it."""
    return Request("reload", (_action(todo), nginx.error_log(state)))


def unwire(state: HostState, todo: Plan) -> Request:
    """Take the files of this run out again, or only load what is there when it wrote none."""
    files = todo.wiring.files if todo.wiring.reason else ()
    words = [word for file in files for word in (file.path, file.digest)]
    return Request("unwire", (todo.wiring.link, "stop" if todo.starts else "reload", nginx.error_log(state), *words))


def explain(answer: Answer, state: HostState) -> MeshfabError:
    """The error that a failed `wire`, `reload` or `unwire` stands for."""
    if answer.status == 7:
        return _not_taken_up(nginx.emergency(answer.err), state)
    if answer.status == 75:
        return LockedError(answer.err, host=state.host, todo="try again when that has ended")
    what, todo = {
        3: (f"nginx refuses the configuration: {nginx.emergency(answer.err)}", ""),
        4: (f"nginx would ignore a server: {answer.err}", "take one out; "),
        5: (f"nginx's configuration includes nothing at {answer.err}", "include it, or set meshfab.conf_dir; "),
        6: (f"systemd could not load nginx: {answer.err}", "see `journalctl -u nginx` there; "),
    }.get(answer.status, (f"nginx's files could not be written: {answer.err}", "repair that; "))
    return NginxError(what, host=state.host, todo=todo + _BACK)


def _not_taken_up(words: str, state: HostState) -> NginxError:
    what, todo = f"nginx was reloaded and did not take the configuration up: {words}", "repair that"
    port = re.search(r":(\d+) failed \(98:", words)
    if port and listening.holds(state, int(port[1])):
        # A wildcard and a single address cannot be bound side by side, and a reload binds before it lets go.
        what = f"a running nginx cannot change between all addresses and single ones: {words}"
        todo = "give the --listen of its other servers, or `systemctl stop nginx` there and run this with --start"
    return NginxError(what, host=state.host, todo=f"{todo}; {_BACK}")


def _action(todo: Plan) -> str:
    return "start" if todo.starts else "reload"
