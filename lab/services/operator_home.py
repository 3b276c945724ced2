"""The operator's home: SSH, the CA's root, the provisioner's password, and the environment of `lab/operator`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import cache, host_list, machine, namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab
    from lab.machine.binaries import Binaries

_SSH_CONFIG = f"""\
Host h* n???? !*.{layout.DOMAIN}
    HostName %h.{layout.DOMAIN}

Host *
    User {layout.LOGIN}
    IdentityFile ~/.ssh/id_ed25519
    IdentitiesOnly yes
    StrictHostKeyChecking yes
    UpdateHostKeys no
"""


def create(lab: Lab) -> None:
    """Create the home with an SSH key. Host keys and the CA's root are added when they exist."""
    ssh = lab.home / ".ssh"
    ssh.mkdir(mode=0o700, parents=True)
    (ssh / "config").write_text(_SSH_CONFIG)
    (ssh / "known_hosts").touch(mode=0o600)
    key = str(ssh / "id_ed25519")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator@lab", "-f", key])
    (lab.home / ".bashrc").write_text(f"PS1='({lab.name} operator) \\w\\$ '\n")


def write_known_hosts(lab: Lab, hosts: list[str]) -> None:
    """Write the host keys, as read from the hosts' disks, into known_hosts."""
    lines = []
    for host in hosts:
        ssh = namespace_holder.path_from_outside(lab, machine.root_path(lab, host)) / "etc" / "ssh"
        for path in sorted(ssh.glob("ssh_host_*_key.pub"), reverse=True):
            kind, key = path.read_text().split()[:2]
            lines.append(f"{layout.fqdn(host)},{host},{host_list.address(lab, host)} {kind} {key}\n")
    (lab.home / ".ssh" / "known_hosts").write_text("".join(lines))


def install_root(lab: Lab) -> None:
    """Copy the CA's root certificate to the path where `step` and the operator's tools read it."""
    certs = lab.home / ".step" / "certs"
    certs.mkdir(parents=True)
    certificate = certs / "root_ca.crt"
    certificate.write_text(lab.root.read_text())
    config = lab.home / ".step" / "config"
    config.mkdir()
    defaults = f'{{"ca-url": "{layout.CA_URL}", "root": "{certificate}"}}\n'
    (config / "defaults.json").write_text(defaults)


def write_environment(lab: Lab, binaries: Binaries) -> None:
    """Write the file that `lab/operator` reads. It is written last: if it exists, the lab is up."""
    folders = map(str, (lab.checkout / ".venv" / "bin", binaries.step.parent))
    path = [folder for folder in folders if folder not in ("/usr/bin", "/usr/local/bin")]
    variables = {
        "HOME": str(lab.home),
        "MESHFAB_LAB": lab.name,
        "MESHFAB_LAB_NAME": lab.name,
        "MESHFAB_LAB_CACHE": str(cache.folder()),
        "MESHFAB_LAB_ROOT": str(lab.home / ".step" / "certs" / "root_ca.crt"),
    }
    lines = [f"namespace_holder={namespace_holder.pid(lab)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines.append(f'export PATH={shlex.quote(":".join(path))}:"$PATH"')
    lines.append("unset PYTHONDONTWRITEBYTECODE")
    environment = lab.state / "operator.env"
    temporary = Path(f"{environment}.part")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.rename(environment)
