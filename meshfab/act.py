"""Carry out a plan: thin, in one batch where the order allows it, and back to what was there if the proof fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab import certificate, nginx, pair, probe, renewal, secret, served, vhost
from meshfab.errors import MeshfabError, NotReadyError, ServedError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshfab.certificate import Leaf
    from meshfab.eye import Eye
    from meshfab.password import Password
    from meshfab.plan import Plan
    from meshfab.probe import HostState
    from meshfab.settings import Settings
    from meshfab.shell import RootShell

# Steps after which clients may get another leaf than before.
_TOUCHES_SERVING = {"finish", "mint", "vhost", "reload"}


def carry_out(
    shell: RootShell,
    state: HostState,
    todo: Plan,
    settings: Settings,
    eye: Eye,
    password: Password | None,
    say: Callable[[str, str], None],
) -> HostState:
    """Do every step of a plan, prove that the pair is served, and read the host again.

    Raises:
        MeshfabError: a step failed; the pair and the vhost are as they were before.
    """
    if todo.reason("mint") is not None:
        leaf = _mint(shell, state, todo, settings, password)
        say("mint", f"new pair, valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC: {todo.reason('mint')}")
    answers = shell.batch(_requests(state, todo, settings))
    if not answers[-1].ok:
        raise _undone(shell, state, todo, answers[-1])
    for step in todo.steps:
        if step.verb != "mint":
            say(step.verb, f"{_done(step.verb, todo)}: {step.reason}")
    if todo.port is not None and _TOUCHES_SERVING & {step.verb for step in todo.steps}:
        # The last answer is the certificate as it lies on disk now: the proof compares with that, not with our intent.
        disk = certificate.read_leaf(probe.fields(answers[-1].out).get(todo.service.cert, ""))
        _prove(shell, state, todo, todo.port, disk, eye)
    settled, probed = shell.batch([_settle(todo), probe.request(settings, [todo.service])])
    if not settled.ok:
        raise MeshfabError(f"old files could not be removed: {settled.err}", host=shell.host, todo="run this again")
    return probe.parse(probed, shell.host, settings, [todo.service])


def diffs(shell: RootShell, state: HostState, todo: Plan, settings: Settings) -> tuple[str, ...]:
    """A unified diff of every file that the plan would change; reads, and writes nothing."""
    import difflib

    texts = {file.path: file.text for file in todo.files}
    if todo.place and todo.reason("vhost") is not None:
        texts[todo.place.path] = vhost.render(todo.service, settings, state.nginx_version)
    there = probe.fields(shell.run("read", *texts).out) if texts else {}
    found = []
    for path, text in texts.items():
        # The shell's `$(cat)` drops the newlines at a file's end.
        old = (there[path].rstrip("\n") + "\n").splitlines(keepends=True) if path in there else []
        new = text.splitlines(keepends=True)
        found.append("".join(difflib.unified_diff(old, new, path if old else "/dev/null", path)))
    return tuple(found)


def _mint(shell: RootShell, state: HostState, todo: Plan, settings: Settings, password: Password | None) -> Leaf:
    if password is None:
        raise MeshfabError("a new pair is needed, and there is no password to mint it with", host=shell.host)
    with secret.carried(shell, todo.service, password) as path:
        return pair.mint(shell, state, todo.service, settings, path)


def _requests(state: HostState, todo: Plan, settings: Settings) -> list[Request]:
    service = todo.service
    by_verb = {
        "sweep": [secret.sweep(service), _settle(todo)],
        "finish": [pair.finish(service)],
        "mint": [pair.commit(state, service)],
        "rights": [pair.set_rights(state, service)],
        "units": renewal.install(state, list(todo.files)),
        "timer": [renewal.enable(service)],
        "reload": [nginx.reload()],
    }
    if todo.place and todo.reason("vhost") is not None:
        text = vhost.render(service, settings, state.nginx_version)
        by_verb["vhost"] = [nginx.wire(state, todo.place, text), nginx.reload()]
    return [*(request for step in todo.steps for request in by_verb[step.verb]), Request("read", (service.cert,))]


def _settle(todo: Plan) -> Request:
    """Drop the old files that were kept until now, and what an interrupted run left."""
    places = [todo.service.cert, todo.service.key] + ([todo.place.path] if todo.place else [])
    return Request("settle", tuple(places))


def _done(verb: str, todo: Plan) -> str:
    return {
        "sweep": "removed",
        "finish": "the staged certificate is moved in",
        "rights": "owner, mode and ACL set",
        "units": "installed",
        "timer": f"{todo.service.timer} enabled and started",
        "vhost": f"{todo.place.path if todo.place else ''} written, nginx reloaded",
        "reload": "nginx reloaded",
    }[verb]


def _prove(shell: RootShell, state: HostState, todo: Plan, port: int, disk: Leaf, eye: Eye) -> None:
    """Wait until clients get the leaf that is on disk; if they never do, go back to what was there."""
    shown = served.until(disk.der, lambda: eye.look(state, port))
    if shown.der == disk.der:
        return
    what = "another certificate" if shown.der else f"no certificate ({shown.why})"
    raise ServedError(
        f"nginx was reloaded, and clients at {shown.address}:{port} get {what} for {todo.service.fqdn};"
        f" {_go_back(shell, state, todo)}",
        host=shell.host,
        todo="see nginx's error log there (an address that it cannot bind?)",
    )


def _undone(shell: RootShell, state: HostState, todo: Plan, failed: Answer) -> MeshfabError:
    """Take back what the batch did before its failing script, and say what failed."""
    if failed.script in ("wire", "reload"):
        _go_back(shell, state, todo)
        return nginx.explain(failed, shell.host)
    if failed.script in ("install", "enable"):
        what = f"the renewal could not be set up: {failed.err}"
        return NotReadyError(what, host=shell.host, todo="repair what the message names, then run this again")
    return pair.not_moved(failed, state)


def _go_back(shell: RootShell, state: HostState, todo: Plan) -> str:
    """Put back the pair and the vhost of before, load them, and say how that went."""
    requests = [pair.put_back(todo.service)] if todo.reason("mint") is not None else []
    if todo.place and todo.reason("vhost") is not None:
        requests.append(nginx.unwire(state, todo.place))
    if not requests:
        return "nothing else was changed"
    last = shell.batch([*requests, nginx.reload()])[-1]
    return "what was there before is back" if last.ok else f"going back failed too: {last.err}"
