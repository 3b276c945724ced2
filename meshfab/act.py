"""Carry out a plan: thin, in one batch where the order allows it, and back to what was there if the proof fails."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from meshfab import certificate, listening, nginx, pair, probe, renewal, secret, served, transaction, vhost
from meshfab.errors import MeshfabError, NotReadyError, ServedError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshfab.certificate import Leaf
    from meshfab.eye import Eye
    from meshfab.password import Password
    from meshfab.plan import Plan
    from meshfab.probe import HostState
    from meshfab.served import Served
    from meshfab.settings import Settings
    from meshfab.shell import RootShell

# Steps after which clients may get another leaf than before.
_TOUCHES_SERVING = {"finish", "mint", "vhost", "snippet", "reload"}


def carry_out(
    shell: RootShell,
    state: HostState,
    todo: Plan,
    settings: Settings,
    eye: Eye,
    password: Password | None,
    say: Callable[[str, str], None],
) -> Leaf | None:
    """Do every step of a plan and prove that the pair is served. Returns the certificate as it lies on disk then.

    Each script proves its own effect (a right that was set is read back), and the wire proves the whole.

    Raises:
        MeshfabError: a step failed; the pair and the vhost are as they were before.
    """
    if todo.reason("mint") is not None:
        leaf = _mint(shell, state, todo, settings, password)
        say("mint", f"new pair, valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC: {todo.reason('mint')}")
    touches = todo.port is not None and bool(_TOUCHES_SERVING & {step.verb for step in todo.steps})
    # What clients get now is what they must get again if this fails.
    proof = _Proof(shell, state, todo, eye) if touches else None
    answers = shell.batch(_requests(state, todo))
    if not answers[-1].ok:
        raise _undone(shell, state, todo, answers[-1], proof)
    for step in todo.steps:
        if step.verb != "mint":
            say(step.verb, f"{_done(step.verb, todo)}: {step.reason}")
    # The last answer is the certificate as it lies on disk now: the proof compares with that, not with our intent.
    text = probe.fields(answers[-1].out).get(todo.service.cert)
    disk = certificate.leaf_of(text)
    if proof and disk:
        proof.require(disk)
    settled = shell.batch([_settle(todo)])[0]
    if not settled.ok:
        raise MeshfabError(f"old files could not be removed: {settled.err}", host=shell.host, todo="run this again")
    return disk


def diffs(shell: RootShell, todo: Plan) -> tuple[str, ...]:
    """A unified diff of every file that the plan would change; reads, and writes nothing."""
    texts = {file.path: file.text for file in (*todo.files, *todo.wiring.files)}
    there = probe.fields(shell.run("read", *texts).out) if texts else {}
    return tuple(vhost.diff(path, there.get(path), text) for path, text in texts.items())


def _mint(shell: RootShell, state: HostState, todo: Plan, settings: Settings, password: Password | None) -> Leaf:
    if password is None:
        raise MeshfabError("a new pair is needed, and there is no password to mint it with", host=shell.host)
    # Rendered while the CA works. What goes wrong there goes wrong again, and is told, when the text is asked for.
    drafts = Thread(target=lambda: [file.text for file in todo.wiring.files], daemon=True)
    drafts.start()
    with secret.carried(shell, todo.service, password) as path:
        return pair.mint(shell, state, todo.service, settings, path)


def _requests(state: HostState, todo: Plan) -> list[Request]:
    service = todo.service
    by_verb = {
        "sweep": [secret.sweep(service), _settle(todo)],
        "finish": [pair.finish(service)],
        "mint": [pair.commit(state, service)],
        "rights": [pair.set_rights(state, service)],
        "units": renewal.install(state, service, todo.files),
        "timer": [renewal.enable(state, service)],
        "reload": [transaction.reload(state, todo)],
    }
    if todo.wiring.files:
        by_verb[todo.wiring.verb] = [transaction.wire(state, todo)]
    return [*(request for step in todo.steps for request in by_verb[step.verb]), Request("read", (service.cert,))]


def _settle(todo: Plan) -> Request:
    """Drop the old files that were kept until now, and what an interrupted run left."""
    places = [todo.service.cert, todo.service.key, *(file.path for file in todo.wiring.files)]
    places += [todo.wiring.place.path] if todo.wiring.place and not todo.wiring.files else []
    return Request("settle", tuple(places))


def _done(verb: str, todo: Plan) -> str:
    written = " and ".join(file.path for file in todo.wiring.files)
    loaded = "nginx started" if todo.starts else "nginx reloaded"
    return {
        "sweep": "removed",
        "finish": "the staged certificate is moved in",
        "rights": "owner, mode and ACL set",
        "units": "installed",
        "timer": f"{todo.service.timer} enabled and started",
        "vhost": f"{written} written, {loaded}",
        "snippet": f"{written} written, {loaded}" if todo.wiring.is_loaded else f"{written} written",
        "reload": loaded,
    }[verb]


class _Proof:
    """What clients get, before and after: the only proof that a load was taken up, and that a way back was."""

    def __init__(self, shell: RootShell, state: HostState, todo: Plan, eye: Eye) -> None:
        self.shell, self.state, self.todo, self.eye = shell, state, todo, eye
        # The plan's own look; none where nothing was meant to serve the name, and so nothing can be lost.
        self.before = eye.last

    def look(self) -> Served:
        return self.eye.look(self.state, self.todo.port or 443, self.todo.addresses)

    def require(self, disk: Leaf) -> None:
        """Wait until clients get the leaf that is on disk; if they never do, go back to what was there."""
        shown = served.until(disk.der, self.look)
        if shown.der == disk.der:
            return
        what = "another certificate" if shown.der else f"no certificate ({shown.why})"
        place = self.todo.wiring.place or nginx.Place("")
        hidden = listening.hides(self.state, shown.address, shown.port, place)
        todo = f"see its error log, {nginx.error_log(self.state)}"
        if hidden and not self.todo.addresses:
            what += f" from {hidden}, which listens on just that address"
            todo = f"give --listen {shown.address} to do so too"
        did = "started" if self.todo.starts else "reloaded"
        raise ServedError(
            f"nginx was {did}, and clients at {shown.address}:{shown.port} get for {self.todo.service.fqdn} {what};"
            f" {_go_back(self.shell, self.state, self.todo, self)}",
            host=self.shell.host,
            todo=todo,
        )

    def is_back(self) -> bool:
        """Whether clients get again what they got before."""
        return self.before is None or served.until(self.before.der, self.look).der == self.before.der


def _undone(shell: RootShell, state: HostState, todo: Plan, failed: Answer, proof: _Proof | None) -> MeshfabError:
    """Take back what the batch did before its failing script, and say what failed."""
    if failed.script in ("wire", "reload"):
        error = transaction.explain(failed, state)
        if failed.script == "wire" and todo.reason("mint") is None:
            # The script itself had put everything back.
            how = "" if failed.status < 6 or not proof or proof.is_back() else "clients get something else than before"
        else:
            how = _go_back(shell, state, todo, proof)
        if "failed" in how or "clients" in how:
            error.todo = f"{error.todo}; {how}"
        return error
    if failed.script in ("install", "enable"):
        if todo.reason("mint") is not None:
            # nginx has not read the new pair: with the old one back, nothing has changed.
            shell.batch([pair.put_back(todo.service)])
        what = f"the renewal could not be set up: {failed.err}"
        return NotReadyError(what, host=shell.host, todo="repair what the message names, then run this again")
    return pair.not_moved(failed, state)


def _go_back(shell: RootShell, state: HostState, todo: Plan, proof: _Proof | None) -> str:
    """Put back the pair and the vhost of before, load them, and say how that went."""
    requests = [pair.put_back(todo.service)] if todo.reason("mint") is not None else []
    if not requests and not todo.wiring.files and not todo.starts:
        return "nothing else was changed"
    last = shell.batch([*requests, transaction.unwire(state, todo)])[-1]
    if not last.ok:
        return f"going back failed too: {last.err}"
    if proof and not proof.is_back():
        return "what was there before is back, and clients get something else than before"
    return "what was there before is back" + (" and served" if proof and proof.before and proof.before.der else "")
