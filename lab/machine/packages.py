"""What the lab requires of the machine it runs on. Missing commands are installed with apt."""

from __future__ import annotations

import os
import shutil
import sys

from lab.errors import LabError
from lab.machine.process import SYSTEM_PATH, run

# command -> the Debian and Ubuntu package that contains it
COMMANDS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "curl": "curl",
    "setfacl": "acl",
    "rsync": "rsync",
    "strace": "strace",
}


def require_machine() -> None:
    """Raise an error on a machine that cannot run a lab, before anything is changed on it."""
    if sys.platform != "linux":
        raise LabError("the lab needs Linux (namespaces, systemd-nspawn); use a Linux machine")
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts); run it again with sudo")


def ensure_commands() -> bool:
    """Install the packages of the commands that are missing. Returns whether there were any."""
    missing = sorted({package for command, package in COMMANDS.items() if not _is_installed(command)})
    if not missing:
        return False
    if shutil.which("apt-get") is None:
        raise LabError(f"this machine has no apt-get: install {', '.join(missing)} by hand, then run it again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", "update"], env=environment)
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *missing]
    run(install, env=environment)
    return True


def _is_installed(command: str) -> bool:
    return shutil.which(command, path=SYSTEM_PATH) is not None
