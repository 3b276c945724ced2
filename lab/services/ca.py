"""The mesh's CA: a real step-ca at https://ca.internal with the JWK provisioner `lair`."""

from __future__ import annotations

import json
import secrets
import signal
from typing import TYPE_CHECKING, Any

from lab import layout
from lab.errors import LabError
from lab.layout import Lab, current
from lab.machine import host_list, namespace_holder
from lab.machine.process import CLEAN_ENVIRONMENT, is_gone, run, running_pid, send_signal, spawn, wait_until
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
    """Create a root, an intermediate and a provisioner. The CA's keys and the provisioner have different passwords."""
    lab.ca.mkdir(mode=0o700)
    lab.password.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_password = lab.ca / "password"
    for path in (key_password, lab.password):
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24) + "\n")
    argv = [str(step), "ca", "init", "--deployment-type", "standalone", "--name", "Mesh lab"]
    argv += ["--dns", f"ca.{layout.DOMAIN}", "--dns", layout.CA_ADDRESS]
    # step-ca cannot be given one address of IPv4 and one of IPv6, but all addresses of the lab's namespace.
    address = "" if host_list.needs_ipv6(lab) else layout.CA_ADDRESS
    argv += ["--address", f"{address}:443", "--provisioner", layout.PROVISIONER]
    argv += ["--password-file", str(key_password), "--provisioner-password-file", str(lab.password)]
    # In the lab's namespaces, where the teardown finds it even if the process that brings the lab up was killed.
    run(namespace_holder.nsenter(lab, *argv), env={**CLEAN_ENVIRONMENT, "STEPPATH": str(lab.ca)})
    _edit(lab, lambda config: _provisioner(config, layout.PROVISIONER).update(claims=dict(CLAIMS)))


def start(lab: Lab | None = None) -> None:
    """Start the CA and wait until it accepts connections. If it is paused, let it continue."""
    lab = lab or current()
    running = running_pid(lab.pids / "ca")
    if running is not None:
        send_signal([running], signal.SIGCONT)
        return
    command = (lab.state / "step-ca").read_text().strip()
    config = str(lab.ca / "config" / "ca.json")
    argv = namespace_holder.nsenter(lab, command, config, "--password-file", str(lab.ca / "password"))
    pid = spawn(argv, lab.logs / "ca", lab.pids / "ca", {**CLEAN_ENVIRONMENT, "STEPPATH": str(lab.ca)})
    wait_until(lambda: is_answering(lab) or is_gone(pid), f"the CA to start; see {lab.logs / 'ca'}", 60)
    if is_gone(pid):
        raise LabError(f"the CA did not start; see {lab.logs / 'ca'}")


def is_answering(lab: Lab | None = None) -> bool:
    """Whether the CA's address accepts connections."""
    return read_banner(lab or current(), layout.CA_ADDRESS, 443, 0) is not None


def stop() -> None:
    """Kill the CA; connections to it are refused."""
    pid = running_pid(current().pids / "ca")
    if pid is not None:
        send_signal([pid], signal.SIGKILL)
        wait_until(lambda: is_gone(pid), "the CA to stop", 60)


def pause() -> None:
    """Stop the CA with SIGSTOP: the kernel accepts connections, and nothing answers on them."""
    send_signal([_pid()], signal.SIGSTOP)


def resume() -> None:
    """Let a paused CA continue."""
    send_signal([_pid()], signal.SIGCONT)


def set_claims(provisioner: str = layout.PROVISIONER, **claims: Any) -> None:
    """Change claims of a provisioner, such as defaultTLSCertDuration="10s"; None removes a claim."""

    def change(config: dict[str, Any]) -> None:
        table = _provisioner(config, provisioner).setdefault("claims", {})
        table.update(claims)
        for name in [name for name, value in table.items() if value is None]:
            del table[name]

    _edit_and_restart(change)


def set_names(*names: str) -> None:
    """Change the names that the CA's own certificate has (`dnsNames`)."""
    _edit_and_restart(lambda config: config.update(dnsNames=list(names)))


def remove_provisioner(name: str = layout.PROVISIONER) -> dict[str, Any]:
    """Remove a provisioner and return its configuration, so that `add_provisioner` can restore it."""
    removed: list[dict[str, Any]] = []

    def change(config: dict[str, Any]) -> None:
        removed.append(_provisioner(config, name))
        config["authority"]["provisioners"].remove(removed[0])

    _edit_and_restart(change)
    return removed[0]


def provisioners() -> list[dict[str, Any]]:
    """The provisioners of the CA's configuration."""
    config = json.loads((current().ca / "config" / "ca.json").read_text())
    listed: list[dict[str, Any]] = config["authority"]["provisioners"]
    return listed


def add_provisioner(provisioner: dict[str, Any]) -> None:
    """Add a provisioner, given as in `ca.json`."""
    _edit_and_restart(lambda config: config["authority"]["provisioners"].append(provisioner))


def _pid() -> int:
    pid = running_pid(current().pids / "ca")
    if pid is None:
        raise LabError("the CA is not running; start it with lab.services.ca.start()")
    return pid


def _provisioner(config: dict[str, Any], name: str) -> dict[str, Any]:
    for candidate in config["authority"]["provisioners"]:
        if candidate["name"] == name:
            provisioner: dict[str, Any] = candidate
            return provisioner
    raise LabError(f"the CA has no provisioner {name!r}")


def _edit(lab: Lab, change: Callable[[dict[str, Any]], object]) -> None:
    path = lab.ca / "config" / "ca.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config, indent=2) + "\n")


def _edit_and_restart(change: Callable[[dict[str, Any]], object]) -> None:
    """Edit `ca.json` and restart a running CA. After SIGHUP, an old configuration could still answer for a moment."""
    _edit(current(), change)
    if running_pid(current().pids / "ca") is not None:
        stop()
        start()
