"""The runbook as a pyinfra deploy, with one service on each host. Its name comes from the inventory."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import files, server, systemd

RUNBOOK = Path(__file__).parent.parent / "runbook"
service = host.data.service
fqdn = f"{service}.internal"
cert, key = f"/etc/nginx/tls/cert/{fqdn}.pem", f"/etc/nginx/tls/key/{fqdn}.pem"
secret = f"/tmp/{service}-provisioner"

valid = host.get_fact(
    Command, f"openssl x509 -checkend 0 -noout -in {cert} >/dev/null 2>&1 && echo yes || echo no", _sudo=True
)
if valid != "yes":
    files.put(
        name="Copy the password",
        src=str(Path.home() / ".step/secrets/provisioner"),
        dest=secret,
        user="root",
        group="root",
        mode="600",
        _sudo=True,
    )
    server.shell(
        name="Mint the pair, and remove the password",
        commands=[
            f"trap 'rm -f {secret}' EXIT; set -e; mkdir -p /etc/nginx/tls/cert /etc/nginx/tls/key;"
            f" step ca certificate --force --provisioner lair --provisioner-password-file {secret}"
            " --ca-url https://ca.internal --root /etc/pki/ca-trust/source/anchors/root-internal.pem"
            f" --san {fqdn} {fqdn} {cert} {key};"
            f" chmod 0644 {cert}; chmod 0640 {key}; setfacl -m u:{host.data.nginx_user}:r {key}"
        ],
        _sudo=True,
    )
units = [
    files.put(
        name=f"Install {unit}",
        src=str(RUNBOOK / unit),
        dest=f"/etc/systemd/system/{unit}",
        user="root",
        group="root",
        mode="644",
        _sudo=True,
    )
    for unit in ("step@.service", "step@.timer")
]
systemd.daemon_reload(
    name="Reload systemd's configuration", _sudo=True, _if=lambda: any(unit.did_change() for unit in units)
)
systemd.service(name="Start the renewal timer", service=f"step@{service}.timer", running=True, enabled=True, _sudo=True)
vhost = files.put(
    name="Write the vhost",
    src=StringIO((RUNBOOK / "vhost.conf").read_text().replace("NAME", service)),
    dest=f"/etc/nginx/conf.d/{fqdn}.conf",
    user="root",
    group="root",
    mode="644",
    _sudo=True,
)
server.shell(
    name="Reload nginx",
    commands=["nginx -t && systemctl reload nginx"],
    _sudo=True,
    _if=vhost.did_change,
)
