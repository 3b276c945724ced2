"""How files of ours get into nginx's configuration and are loaded, how they are taken back, and what can go wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshfab import listening, nginx
from meshfab.errors import LockedError, MeshfabError, NginxError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.plan import Plan
    from meshfab.probe import HostState

_BACK = "what was there before is back in place"


def wire(state: HostState, plans: Sequence[Plan]) -> Request:
    """Put the files in, try the configuration and load it; what was there before comes back when nginx refuses."""
    loaded = [todo for todo in plans if todo.wiring.is_loaded]
    action = _action(loaded) if loaded else ""
    if action == "reload" and any(todo.place for todo in loaded) and nginx.is_free(state, 443):
        action = "open"
    names = " ".join(name for todo in loaded for name in todo.service.names)
    words = [word for todo in plans for word in _words(todo)]
    return Request("wire", (action, *_whom(state), names, *words))


def reload(state: HostState, plans: Sequence[Plan]) -> Request:
    """Try the configuration, then load it."""
    return Request("reload", (_action(plans), *_whom(state)))


def unwire(state: HostState, plans: Sequence[Plan], *, is_wired: bool) -> Request:
    """Take the files of this run out again, or only load what is there when it wrote none, or took them out itself."""
    words = [
        word
        for todo in plans
        for file, link in zip(todo.wiring.files, _links(todo), strict=True)
        if is_wired and todo.wiring.reason
        for word in (file.path, link, file.digest)
    ]
    action = "stop" if any(todo.starts for todo in plans) else "reload"
    return Request("unwire", (action, *_whom(state), *words))


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


def _whom(state: HostState) -> tuple[str, str]:
    """What `load` of the prelude is told of nginx: where it complains, and the process that is to reload."""
    return nginx.error_log(state), state.unit("nginx.service").main_pid


def _action(plans: Sequence[Plan]) -> str:
    return "start" if any(todo.starts for todo in plans) else "reload"


def _words(todo: Plan) -> list[str]:
    """What wire.sh is told of each file: its path, its link, what `nginx -T` is to call it, and its text."""
    wiring = todo.wiring
    shown = wiring.place.link or wiring.place.path if wiring.place else wiring.files[0].path
    if not wiring.is_loaded:
        shown = ""
    words = []
    for file, link in zip(wiring.files, _links(todo), strict=True):
        words += [file.path, link, shown, file.text]
        shown = ""
    return words


def _links(todo: Plan) -> list[str]:
    """The link to each file; only the first one, a vhost, may need one."""
    return [todo.wiring.link if number == 0 else "" for number in range(len(todo.wiring.files))]
