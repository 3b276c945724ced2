"""What the lab needs of the machine it runs on, installed only where it is missing."""

from __future__ import annotations

import os
import shutil
import sys

from lab.errors import LabError
from lab.machine.process import SYSTEM_PATH, run

# command -> the package of Debian and Ubuntu that has it
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
}


def require_machine() -> None:
    """Refuse a machine that cannot hold a lab before anything is changed on it."""
    if sys.platform != "linux":
        raise LabError("the lab needs Linux (namespaces, systemd-nspawn); use a Linux machine")
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts); run it again with sudo")


def ensure_commands() -> bool:
    """Install the packages of the commands that are missing; True if there were any."""
    absent = sorted({COMMANDS[name] for name in COMMANDS if not _is_present(name)})
    if not absent:
        return False
    if shutil.which("apt-get") is None:
        raise LabError(f"no apt-get here: install {', '.join(absent)} by hand, then try again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", "update"], env=environment)
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *absent]
    run(install, env=environment)
    return True


def _is_present(command: str) -> bool:
    return shutil.which(command, path=SYSTEM_PATH) is not None
