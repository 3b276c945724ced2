"""The operator's home: SSH, the mesh's root, the provisioner's password, and the environment."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import cache, machine, namespace_holder
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
    """The home with its SSH key; hosts and the CA's root are added as they come to be."""
    ssh = lab.home / ".ssh"
    ssh.mkdir(mode=0o700, parents=True)
    (ssh / "config").write_text(_SSH_CONFIG)
    (ssh / "known_hosts").touch(mode=0o600)
    key = str(ssh / "id_ed25519")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator@lab", "-f", key])
    (lab.home / ".bashrc").write_text(f"PS1='({lab.name} operator) \\w\\$ '\n")


def know(lab: Lab, hosts: list[str]) -> None:
    """Write the keys of the hosts, read from their own disks, into known_hosts."""
    lines = []
    for host in hosts:
        ssh = namespace_holder.seen(lab, machine.tree(lab, host)) / "etc" / "ssh"
        for path in sorted(ssh.glob("ssh_host_*_key.pub"), reverse=True):
            kind, key = path.read_text().split()[:2]
            lines.append(f"{layout.fqdn(host)},{host},{layout.address(host)} {kind} {key}\n")
    (lab.home / ".ssh" / "known_hosts").write_text("".join(lines))


def trust(lab: Lab) -> None:
    """Put the mesh's root where `step` and the operator's tools look for it."""
    certs = lab.home / ".step" / "certs"
    certs.mkdir(parents=True)
    certificate = certs / "root_ca.crt"
    certificate.write_text(lab.root.read_text())
    config = lab.home / ".step" / "config"
    config.mkdir()
    defaults = f'{{"ca-url": "{layout.CA_URL}", "root": "{certificate}"}}\n'
    (config / "defaults.json").write_text(defaults)


def write_environment(lab: Lab, binaries: Binaries) -> None:
    """What `lab/operator` sources: the last thing of a lab that is up."""
    first = [lab.checkout / ".venv" / "bin", binaries.step.parent]
    own = [str(path) for path in first if str(path) not in ("/usr/bin", "/usr/local/bin")]
    values = {
        "HOME": str(lab.home),
        "MESHFAB_LAB": lab.name,
        "MESHFAB_LAB_NAME": lab.name,
        "MESHFAB_LAB_CACHE": str(cache.folder()),
        "MESHFAB_LAB_ROOT": str(lab.home / ".step" / "certs" / "root_ca.crt"),
    }
    lines = [f"keeper={namespace_holder.pid(lab)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    lines.append(f'export PATH={shlex.quote(":".join(own))}:"$PATH"')
    lines.append("unset PYTHONDONTWRITEBYTECODE")
    environment = lab.state / "operator.env"
    part = Path(f"{environment}.part")
    part.write_text("\n".join(lines) + "\n")
    part.rename(environment)
