"""How files of ours get into nginx's configuration and are loaded, how they are taken back, and what can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab import nginx
from meshfab.errors import LockedError, MeshfabError, NginxError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from meshfab.plan import Plan

_BACK = "what was there before is back in place"


def wire(todo: Plan) -> Request:
    """Put the files in, try the configuration and load it; what was there before comes back when nginx refuses."""
    wiring = todo.wiring
    shown = wiring.place.link or wiring.place.path if wiring.place else wiring.files[0].path
    words = [word for file in wiring.files for word in (file.path, file.text)]
    action = _action(todo) if wiring.is_loaded else ""
    return Request("wire", (wiring.link, action, " ".join(todo.service.names), shown, *words))


def reload(todo: Plan) -> Request:
    """Try the configuration, then load it."""
    return Request("reload", (_action(todo),))


def unwire(todo: Plan) -> Request:
    """Take the files of this run out again, or only load what is there when it wrote none."""
    files = todo.wiring.files if todo.wiring.reason else ()
    words = [word for file in files for word in (file.path, file.digest)]
    return Request("unwire", (todo.wiring.link, "stop" if todo.starts else "reload", *words))


def complaint(log: str, seconds: int) -> Request:
    """What nginx's master said of a configuration that it did not take up."""
    return Request("complaint", (log, str(seconds)))


def explain(answer: Answer, host: str) -> MeshfabError:
    """The error that a failed `wire`, `reload` or `unwire` stands for."""
    if answer.status == 3:
        what = f"nginx refuses the configuration: {nginx.emergency(answer.err)}"
        return NginxError(what, host=host, todo=_BACK)
    if answer.status == 4:
        return NginxError(f"nginx would ignore a server: {answer.err}", host=host, todo=f"take one out; {_BACK}")
    if answer.status == 5:
        what = f"nginx's configuration includes nothing at {answer.err}"
        return NginxError(what, host=host, todo=f"include it, or set meshfab.conf_dir; {_BACK}")
    if answer.status == 75:
        return LockedError(answer.err, host=host, todo="try again when that has ended")
    if answer.status == 6:
        what = f"nginx could not be loaded: {answer.err}"
        return NginxError(what, host=host, todo=f"see `journalctl -u nginx` there; {_BACK}")
    return NginxError(f"nginx's files could not be written: {answer.err}", host=host, todo=f"repair that; {_BACK}")


def _action(todo: Plan) -> str:
    return "start" if todo.starts else "reload"
