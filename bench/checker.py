"""What a first run must come to, the same for every contender, looked at from within the host and past SSH."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab import layout
from lab.services import hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.place import Site

_AT_ONCE = 8
# Prints a line for each fault, and nothing when all is well. $1 the name, $2 the host's address, $3 nginx's user.
_LOOK = f"""
fqdn=$1.{layout.DOMAIN} cert=/etc/nginx/tls/cert/$1.{layout.DOMAIN}.pem key=/etc/nginx/tls/key/$1.{layout.DOMAIN}.pem
file=$(openssl x509 -in "$cert" -noout -fingerprint -sha256 2>/dev/null) || echo 'no certificate'
openssl x509 -in "$cert" -noout -checkend 3600 >/dev/null 2>&1 || echo 'the certificate is not in date'
openssl x509 -in "$cert" -noout -checkhost "$fqdn" 2>/dev/null | grep -q 'does match' || echo 'it is not for the name'
openssl verify -no-CApath -CAfile {layout.ROOT_ON_HOST} -untrusted "$cert" "$cert" >/dev/null 2>&1 ||
    echo 'it does not chain to the root'
public=$(openssl pkey -in "$key" -pubout 2>/dev/null) && [ "$public" = "$(openssl x509 -in "$cert" -noout -pubkey)" ] ||
    echo 'the key is missing or is not its own'
[ "$(stat -c '%U:%G' "$cert" "$key" 2>/dev/null | sort -u)" = root:root ] || echo 'the owner is not root'
[ "$(stat -c %a "$cert" 2>/dev/null)" = 644 ] || echo 'the mode of the certificate is not 0644'
[ "$(stat -c %a "$key" 2>/dev/null)" = 640 ] || echo 'the mode of the key is not 0640'
getfacl -cp "$key" 2>/dev/null | grep -qx "user:$3:r--" || echo 'nginx has no right to read the key'
systemctl is-enabled --quiet "step@$1.timer" 2>/dev/null || echo 'the timer is not enabled'
systemctl is-active --quiet "step@$1.timer" || echo 'the timer does not run'
[ -z "$(ls -d /tmp/*-provisioner 2>/dev/null)" ] || echo 'the password lies in /tmp'
served=$(openssl s_client -connect "$2:443" -servername "$fqdn" </dev/null 2>/dev/null |
    openssl x509 -noout -fingerprint -sha256 2>/dev/null) && [ "$served" = "$file" ] ||
    echo 'the leaf on disk is not what a client gets'
"""


def faults(site: Site) -> list[str]:
    """What is amiss with a site, a sentence each; empty when it is served, trusted and will renew itself."""
    words = [site.name, hosts.address(site.host), site.nginx_user]
    said = hosts.run(site.host, ["sh", "-c", _LOOK, "sh", *words], check=False)
    return (said.stdout + said.stderr).splitlines()


def all_faults(sites: Sequence[Site]) -> list[str]:
    """The faults of all sites, each with the host's name before it."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(faults, sites))
    return [f"{site.host}: {fault}" for site, said in zip(sites, found, strict=True) for fault in said]
