"""The mesh's CA: a real step-ca at https://ca.internal with the provisioner `lair`."""

from __future__ import annotations

import json
import secrets
import signal
from typing import TYPE_CHECKING, Any

from lab import layout
from lab.errors import LabError
from lab.layout import Lab, current
from lab.machine import namespace_holder
from lab.machine.process import PLAIN, is_gone, recorded, run, send, spawn, wait_until
from lab.machine.tcp_banner import read_banner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLAIMS = {
    "minTLSCertDuration": "5s",
    "maxTLSCertDuration": "24h",
    "defaultTLSCertDuration": "24h",
}


def create(lab: Lab, step: Path) -> None:
    """A fresh root, intermediate and provisioner, each with a password of its own."""
    lab.ca.mkdir(mode=0o700)
    lab.password.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = lab.ca / "password"
    for path in (own, lab.password):
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24) + "\n")
    argv = [str(step), "ca", "init", "--deployment-type", "standalone", "--name", "Mesh lab"]
    argv += ["--dns", f"ca.{layout.DOMAIN}", "--dns", layout.CA_ADDRESS]
    argv += ["--address", f"{layout.CA_ADDRESS}:443", "--provisioner", layout.PROVISIONER]
    argv += ["--password-file", str(own), "--provisioner-password-file", str(lab.password)]
    run(argv, env={**PLAIN, "STEPPATH": str(lab.ca)})
    _edit(lab, lambda config: _provisioner(config, layout.PROVISIONER).update(claims=dict(CLAIMS)))


def start(lab: Lab | None = None) -> None:
    """Start the CA and wait until it answers; one that is paused goes on."""
    lab = lab or current()
    running = recorded(lab.pids / "ca")
    if running is not None:
        send([running], signal.SIGCONT)
        return
    command = (lab.state / "step-ca").read_text().strip()
    config = str(lab.ca / "config" / "ca.json")
    argv = namespace_holder.inside(lab, command, config, "--password-file", str(lab.ca / "password"))
    pid = spawn(argv, lab.logs / "ca", lab.pids / "ca", {**PLAIN, "STEPPATH": str(lab.ca)})
    wait_until(lambda: is_answering(lab) or is_gone(pid), "the CA", 20)
    if is_gone(pid):
        raise LabError(f"the CA did not start; its reason is in {lab.logs / 'ca'}")


def is_answering(lab: Lab | None = None) -> bool:
    """Whether anything accepts connections at the CA's address."""
    return read_banner(lab or current(), layout.CA_ADDRESS, 443, 0) is not None


def stop() -> None:
    """Stop the CA: connections are refused from now on."""
    pid = recorded(current().pids / "ca")
    if pid is not None:
        send([pid], signal.SIGKILL)
        wait_until(lambda: is_gone(pid), "the CA to stop", 5)


def pause() -> None:
    """Freeze the CA: connections are accepted by the kernel, and answered by nobody."""
    send([_running()], signal.SIGSTOP)


def resume() -> None:
    """Let a paused CA go on."""
    send([_running()], signal.SIGCONT)


def set_claims(provisioner: str = layout.PROVISIONER, **claims: Any) -> None:
    """Change claims of a provisioner, such as defaultTLSCertDuration="10s"; None removes one."""

    def change(config: dict[str, Any]) -> None:
        table = _provisioner(config, provisioner).setdefault("claims", {})
        table.update(claims)
        for name in [name for name, value in table.items() if value is None]:
            del table[name]

    _edit_and_reload(change)


def remove_provisioner(name: str = layout.PROVISIONER) -> dict[str, Any]:
    """Take a provisioner away and return it, for `add_provisioner` to put it back."""
    taken: list[dict[str, Any]] = []

    def change(config: dict[str, Any]) -> None:
        taken.append(_provisioner(config, name))
        config["authority"]["provisioners"].remove(taken[0])

    _edit_and_reload(change)
    return taken[0]


def add_provisioner(provisioner: dict[str, Any]) -> None:
    """Add a provisioner, as `ca.json` has it."""
    _edit_and_reload(lambda config: config["authority"]["provisioners"].append(provisioner))


def _running() -> int:
    pid = recorded(current().pids / "ca")
    if pid is None:
        raise LabError("the CA is not running; start it with lab.services.ca.start()")
    return pid


def _provisioner(config: dict[str, Any], name: str) -> dict[str, Any]:
    for provisioner in config["authority"]["provisioners"]:
        if provisioner["name"] == name:
            found: dict[str, Any] = provisioner
            return found
    raise LabError(f"the CA has no provisioner {name!r}")


def _edit(lab: Lab, change: Callable[[dict[str, Any]], object]) -> None:
    path = lab.ca / "config" / "ca.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config, indent=2) + "\n")


def _edit_and_reload(change: Callable[[dict[str, Any]], object]) -> None:
    """A restart and not SIGHUP: when it returns, the new configuration is what answers."""
    _edit(current(), change)
    if recorded(current().pids / "ca") is not None:
        stop()
        start()
