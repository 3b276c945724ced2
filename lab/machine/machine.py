"""One host as a systemd-nspawn container: its root file system, its boot and its stop."""

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
from lab.machine import cgroups, host_list, namespace_holder
from lab.machine.process import (
    CLEAN_ENVIRONMENT,
    children,
    is_gone,
    run,
    running_pid,
    send_signal,
    spawn,
    start_time,
    wait_until,
)
from lab.machine.tcp_banner import read_banner

if TYPE_CHECKING:
    from lab.layout import Lab

_HALT = signal.SIGRTMIN + 4
_REBOOT_STATUS = 133


def root_path(lab: Lab, host: str) -> Path:
    """The host's root file system in the lab's mount namespace, whether the host is up or not."""
    return lab.hosts / host / "root"


def create(lab: Lab, host: str, image_layers: list[Path]) -> None:
    """Mount a writable layer over the image, and write the host's name, address and SSH keys into it."""
    folder = namespace_holder.path_from_outside(lab, lab.hosts) / host
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(mode=0o755, parents=True)
    (folder / "layers").write_text("\n".join(map(str, image_layers)))
    mount_root(lab, host)
    _configure(lab, host, folder / "root")


def layers(lab: Lab, host: str) -> list[str]:
    """The read-only layers that the host was created from, the topmost first."""
    return (namespace_holder.path_from_outside(lab, lab.hosts) / host / "layers").read_text().splitlines()


def mount_root(lab: Lab, host: str) -> None:
    """Mount the host's root: the image's layers, and the writable layer above them."""
    folder = lab.hosts / host
    lower = ":".join(layers(lab, host))
    options = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
    run(namespace_holder.nsenter(lab, "mount", "-t", "overlay", "lab", "-o", options, f"{folder}/root"))


def _configure(lab: Lab, host: str, root: Path) -> None:
    etc = root / "etc"
    address, fqdn = host_list.address(lab, host), layout.fqdn(host)
    resolver = layout.OPERATOR_IPV6 if ":" in address else layout.OPERATOR_ADDRESS
    (etc / "hostname").write_text(f"{host}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{address} {fqdn} {host}\n")
    (etc / "resolv.conf").unlink(missing_ok=True)
    (etc / "resolv.conf").write_text(f"nameserver {resolver}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (etc / "default" / "mesh").write_text(
        f"ADDRESS={layout.address(host)}/{layout.PREFIX_LENGTH}\nIPV6={layout.ipv6(host)}/{layout.IPV6_PREFIX_LENGTH}\n"
    )
    for kind in ("ed25519", "ecdsa"):
        path = etc / "ssh" / f"ssh_host_{kind}_key"
        run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", fqdn, "-f", str(path)])
    login = (root / "home" / layout.LOGIN).stat()
    authorized_keys = root / "home" / layout.LOGIN / ".ssh" / "authorized_keys"
    authorized_keys.write_text((lab.home / ".ssh" / "id_ed25519.pub").read_text())
    authorized_keys.chmod(0o600)
    os.chown(authorized_keys, login.st_uid, login.st_gid)


def boot(lab: Lab, host: str) -> bool:
    """Start the host, unless it runs already. Returns whether it was started; see `wait_until_ready`."""
    if running_pid(_pid_file(lab, host)) is not None:
        return False
    nspawn = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        f"--machine={host}",
        f"--directory={root_path(lab, host)}",
        f"--network-bridge={layout.BRIDGE}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
    ]
    # Each host needs its own control group: in a shared group, the systemd of one host would manage the processes of
    # the others.
    joins = [f"echo 0 > {shlex.quote(str(path))}" for path in cgroups.create(lab, host)]
    start = "; ".join([*joins, f"exec {shlex.join(nspawn)}"])
    # With --keep-unit, nspawn does not restart a container that reboots; it exits with this status.
    script = f"while :; do ({start}); [ $? -eq {_REBOOT_STATUS} ] || exit; done"
    # systemd 258 and newer starts with cgroup version 2 only: the container gets it where this machine has both, too.
    environment = {**CLEAN_ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    argv = namespace_holder.nsenter(lab, "sh", "-c", script)
    spawn(argv, lab.logs / host, _pid_file(lab, host), environment)
    return True


def wait_until_ready(lab: Lab, host: str, seconds: float = 60) -> None:
    """Wait until SSH logins are possible and nginx answers."""
    address = host_list.address(lab, host)
    pid = running_pid(_pid_file(lab, host))

    def is_ready() -> bool:
        if pid is None or is_gone(pid):
            raise LabError(f"{host} did not start; see {lab.logs / host}")
        return (
            (leader(lab, host) or 0) > 0
            and read_banner(lab, address, 22, 4) == b"SSH-"
            and read_banner(lab, address, 80, 0) is not None
            and not _is_login_disabled(lab, host)
        )

    wait_until(is_ready, f"{host} to be ready; see {lab.logs / host}", seconds, 0.03)


def _is_login_disabled(lab: Lab, host: str) -> bool:
    """Whether PAM still refuses logins because the system is booting (pam_nologin)."""
    init = leader(lab, host)
    return init is None or Path(f"/proc/{init}/root/run/nologin").exists()


def is_up(lab: Lab, host: str) -> bool:
    """Whether the host's container runs."""
    return leader(lab, host) is not None


def leader(lab: Lab, host: str) -> int | None:
    """The host's PID 1, by its number on this machine; None if the host is down."""
    supervisor = running_pid(_pid_file(lab, host))
    if supervisor is None:
        return None
    for nspawn in children(supervisor):
        for child in children(nspawn):
            if _is_container_init(child):
                return child
    return None


def _is_container_init(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    namespace_pids = status.partition("NSpid:")[2].partition("\n")[0].split()
    return len(namespace_pids) > 1 and namespace_pids[-1] == "1" and start_time(pid) is not None


def stop(lab: Lab, host: str, *, clean: bool = True, seconds: float = 15) -> None:
    """Shut the host down; without `clean`, kill all of its processes at once, like a power failure."""
    supervisor = running_pid(_pid_file(lab, host))
    if supervisor is None:
        return
    init = leader(lab, host)
    if clean and init is not None:
        send_signal([init], _HALT)
        deadline = time.monotonic() + seconds
        while not is_gone(supervisor) and time.monotonic() < deadline:
            time.sleep(0.02)
    send_signal([supervisor, *children(supervisor), *([init] if init else [])], signal.SIGKILL)
    # The kernel needs a moment to remove the container's network interface; until then the address still answers.
    wait_until(lambda: is_gone(supervisor) and not _has_bridge_port(lab, host), f"{host} to stop", 60)


def _has_bridge_port(lab: Lab, host: str) -> bool:
    return f" {layout.port(host)}:" in Path(f"/proc/{namespace_holder.pid(lab)}/net/dev").read_text()


def _pid_file(lab: Lab, host: str) -> Path:
    return lab.pids / host
