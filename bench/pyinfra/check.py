"""What check.sh asks, on every host, and its TLS client on this machine."""

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

found = host.get_fact(
    Command,
    f"openssl x509 -in {cert} -noout -checkend 28800 >&2 && systemctl is-enabled --quiet step@{service}.timer &&"
    f" systemctl is-active --quiet step@{service}.timer && [ ! -e /tmp/{service}-provisioner ] &&"
    f" openssl x509 -in {cert} -noout -fingerprint -sha256 || echo amiss",
    _sudo=True,
)


def ask_as_a_client(found: str, client: str) -> None:
    """Compare the leaf that a client gets with the one that was found on the host."""
    served = subprocess.run(["sh", "-c", client], capture_output=True, text=True, check=False).stdout.strip()
    if served != found:
        raise AssertionError(f"found {found!r}, served {served!r}")


python.call(name="Ask as a client", function=ask_as_a_client, found=found, client=CLIENT)
