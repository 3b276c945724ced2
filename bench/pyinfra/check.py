"""The same checks as check.sh: on every host, and with a TLS client on this machine."""

from __future__ import annotations

import os
import subprocess

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import python

service = host.data.service
fqdn = f"{service}.internal"
cert = f"/etc/nginx/tls/cert/{fqdn}.pem"
CLIENT = (
    f"openssl s_client -connect {fqdn}:443 -servername {fqdn} -verify_return_error"
    f" -CAfile {os.environ['MESHFAB_LAB_ROOT']} -verify_hostname {fqdn} </dev/null 2>/dev/null"
    " | openssl x509 -noout -fingerprint -sha256"
)

fingerprint = host.get_fact(
    Command,
    f"openssl x509 -in {cert} -noout -checkend 28800 >&2 && systemctl is-enabled --quiet step@{service}.timer &&"
    f" systemctl is-active --quiet step@{service}.timer && [ ! -e /tmp/{service}-provisioner ] &&"
    f" openssl x509 -in {cert} -noout -fingerprint -sha256 || echo failed",
    _sudo=True,
)


def compare_with_served(fingerprint: str, client: str) -> None:
    """Compare the certificate that a client gets with the certificate on the host."""
    served = subprocess.run(["sh", "-c", client], capture_output=True, text=True, check=False).stdout.strip()
    if served != fingerprint:
        raise AssertionError(f"on the host: {fingerprint!r}, served: {served!r}")


python.call(
    name="Get the certificate as a client", function=compare_with_served, fingerprint=fingerprint, client=CLIENT
)
