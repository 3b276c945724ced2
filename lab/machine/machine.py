"""One host as a machine: its file system, its boot and its end, in systemd-nspawn."""

from __future__ import annotations

import os
import shlex
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.errors import LabError
from lab.machine import cgroups, namespace_holder
from lab.machine.process import children, is_gone, recorded, run, send, spawn, started, wait_until
from lab.machine.tcp_banner import read_banner

if TYPE_CHECKING:
    from lab.layout import Lab

_HALT = signal.SIGRTMIN + 4
_REBOOT = 133


def tree(lab: Lab, host: str) -> Path:
    """The host's root in the lab's mount namespace, whether it is up or not."""
    return lab.hosts / host / "root"


def assemble(lab: Lab, host: str, stack: list[Path]) -> None:
    """Lay the host's own writable layer over the image and give it its identity."""
    folder = namespace_holder.seen(lab, lab.hosts) / host
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(mode=0o755, parents=True)
    (folder / "layers").write_text("\n".join(map(str, stack)))
    mount(lab, host)
    _personalise(lab, host, folder / "root")


def layers(lab: Lab, host: str) -> list[str]:
    """The read-only layers of a host that is assembled, topmost first."""
    return (namespace_holder.seen(lab, lab.hosts) / host / "layers").read_text().splitlines()


def mount(lab: Lab, host: str) -> None:
    """Mount the host's root from its layers and its own."""
    own = lab.hosts / host
    lower = ":".join(layers(lab, host))
    options = f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work"
    run(namespace_holder.inside(lab, "mount", "-t", "overlay", "lab", "-o", options, f"{own}/root"))


def _personalise(lab: Lab, host: str, root: Path) -> None:
    etc = root / "etc"
    address, full = layout.address(host), layout.fqdn(host)
    (etc / "hostname").write_text(f"{host}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{address} {full} {host}\n")
    (etc / "resolv.conf").unlink(missing_ok=True)
    (etc / "resolv.conf").write_text(f"nameserver {layout.OPERATOR_ADDRESS}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (etc / "default" / "mesh").write_text(f"ADDRESS={address}/{layout.PREFIX_LENGTH}\n")
    for kind in ("ed25519", "ecdsa"):
        path = etc / "ssh" / f"ssh_host_{kind}_key"
        run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", full, "-f", str(path)])
    login = (root / "home" / layout.LOGIN).stat()
    keys = root / "home" / layout.LOGIN / ".ssh" / "authorized_keys"
    keys.write_text((lab.home / ".ssh" / "id_ed25519.pub").read_text())
    keys.chmod(0o600)
    os.chown(keys, login.st_uid, login.st_gid)


def boot(lab: Lab, host: str) -> None:
    """Start the host; `wait` tells when it can be used."""
    if recorded(_pid_file(lab, host)) is not None:
        return
    nspawn = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        f"--machine={host}",
        f"--directory={tree(lab, host)}",
        f"--network-bridge={layout.BRIDGE}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
    ]
    # Each host in a control group of its own: in a shared one the hosts' systemds would take each
    # other's processes for theirs.
    moves = [f"echo 0 > {shlex.quote(str(path))}" for path in cgroups.make(lab, host)]
    once = "; ".join([*moves, f"exec {shlex.join(nspawn)}"])
    # With --keep-unit nspawn leaves a reboot to whoever started it, and says so by this status.
    script = f"while :; do ({once}); [ $? -eq {_REBOOT} ] || exit; done"
    spawn(namespace_holder.inside(lab, "sh", "-c", script), lab.logs / host, _pid_file(lab, host))


def wait(lab: Lab, host: str, seconds: float = 60) -> None:
    """Wait until people can log in and nginx answers."""
    address = layout.address(host)
    pid = recorded(_pid_file(lab, host))

    def is_ready() -> bool:
        if pid is None or is_gone(pid):
            raise LabError(f"{host} did not start; its reason is in {lab.logs / host}")
        return (
            (leader(lab, host) or 0) > 0
            and read_banner(lab, address, 22, 4) == b"SSH-"
            and read_banner(lab, address, 80, 0) is not None
            and not _is_closed(lab, host)
        )

    wait_until(is_ready, f"{host} to be ready; see {lab.logs / host}", seconds, 0.03)


def _is_closed(lab: Lab, host: str) -> bool:
    """Whether PAM still turns people away because the system is booting."""
    inner = leader(lab, host)
    return inner is None or Path(f"/proc/{inner}/root/run/nologin").exists()


def is_up(lab: Lab, host: str) -> bool:
    """Whether the host's machine runs."""
    return leader(lab, host) is not None


def leader(lab: Lab, host: str) -> int | None:
    """The host's own process 1, as this machine numbers it."""
    outer = recorded(_pid_file(lab, host))
    if outer is None:
        return None
    for nspawn in children(outer):
        for child in children(nspawn):
            if _is_first(child):
                return child
    return None


def _is_first(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = status.partition("NSpid:")[2].partition("\n")[0].split()
    return len(numbers) > 1 and numbers[-1] == "1" and started(pid) is not None


def halt(lab: Lab, host: str, *, clean: bool = True, seconds: float = 15) -> None:
    """Shut the host down, or, without `clean`, pull its plug."""
    outer = recorded(_pid_file(lab, host))
    if outer is None:
        return
    inner = leader(lab, host)
    if clean and inner is not None:
        send([inner], _HALT)
        end = time.monotonic() + seconds
        while not is_gone(outer) and time.monotonic() < end:
            time.sleep(0.02)
    send([outer, *children(outer), *([inner] if inner else [])], signal.SIGKILL)
    # The kernel takes a moment to undo its network; until then the address still answers.
    wait_until(lambda: is_gone(outer) and not _is_linked(lab, host), f"{host} to stop", 10)


def _is_linked(lab: Lab, host: str) -> bool:
    return f" {layout.port(host)}:" in Path(f"/proc/{namespace_holder.pid(lab)}/net/dev").read_text()


def _pid_file(lab: Lab, host: str) -> Path:
    return lab.pids / host
