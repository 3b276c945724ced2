"""Verifies the result of a first run, in the same way for every contender: inside the host and without SSH."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab import layout
from lab.services import hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.inventory import Site

_THREADS = 8
# Prints one line for each problem, and nothing if there is none. $1: the service, $2: the host's address, $3: the user
# of nginx's workers.
_SCRIPT = f"""
fqdn=$1.{layout.DOMAIN} cert=/etc/nginx/tls/cert/$1.{layout.DOMAIN}.pem key=/etc/nginx/tls/key/$1.{layout.DOMAIN}.pem
file=$(openssl x509 -in "$cert" -noout -fingerprint -sha256 2>/dev/null) || echo 'there is no certificate'
openssl x509 -in "$cert" -noout -checkend 3600 >/dev/null 2>&1 || echo 'the certificate expires within an hour'
openssl x509 -in "$cert" -noout -checkhost "$fqdn" 2>/dev/null | grep -q 'does match' ||
    echo 'the certificate is for another name'
openssl verify -no-CApath -CAfile {layout.ROOT_ON_HOST} -untrusted "$cert" "$cert" >/dev/null 2>&1 ||
    echo 'the certificate does not chain to the root'
public=$(openssl pkey -in "$key" -pubout 2>/dev/null) && [ "$public" = "$(openssl x509 -in "$cert" -noout -pubkey)" ] ||
    echo 'the key is missing or does not match the certificate'
[ "$(stat -c '%U:%G' "$cert" "$key" 2>/dev/null | sort -u)" = root:root ] || echo 'the owner of the pair is not root'
[ "$(stat -c %a "$cert" 2>/dev/null)" = 644 ] || echo 'the mode of the certificate is not 0644'
[ "$(stat -c %a "$key" 2>/dev/null)" = 640 ] || echo 'the mode of the key is not 0640'
getfacl -cp "$key" 2>/dev/null | grep -qx "user:$3:r--" || echo 'nginx has no right to read the key'
systemctl is-enabled --quiet "step@$1.timer" 2>/dev/null || echo 'the timer is not enabled'
systemctl is-active --quiet "step@$1.timer" || echo 'the timer is not active'
[ -z "$(ls -d /tmp/*-provisioner 2>/dev/null)" ] || echo 'the password is still in /tmp'
served=$(openssl s_client -connect "$2:443" -servername "$fqdn" </dev/null 2>/dev/null |
    openssl x509 -noout -fingerprint -sha256 2>/dev/null) && [ "$served" = "$file" ] ||
    echo 'the served certificate is not the one on disk'
"""


def verify(site: Site) -> list[str]:
    """The problems of a site, one sentence each. Without any, it is served, it is trusted, and its timer is active."""
    args = [site.name, hosts.address(site.host), site.nginx_user]
    output = hosts.run(site.host, ["sh", "-c", _SCRIPT, "sh", *args], check=False)
    return (output.stdout + output.stderr).splitlines()


def verify_all(sites: Sequence[Site]) -> list[str]:
    """The problems of all sites, each with the name of its host."""
    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(verify, sites))
    return [f"{site.host}: {problem}" for site, problems in zip(sites, results, strict=True) for problem in problems]
