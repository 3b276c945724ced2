"""What every test of one service on one host needs: where its files lie, commands on the host, a pair made by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab import layout
from lab.services import hosts

CERT_DIR, KEY_DIR = "/etc/nginx/tls/cert", "/etc/nginx/tls/key"


def another_second_than(file: str) -> str:
    """A shell command that waits until a file that is written in place gets another time than it has.

    nginx 1.27.4 and newer keep over a reload what they loaded from a file with the same inode and time, in seconds
    (https://nginx.org/en/docs/ngx_core_module.html#ssl_object_cache_inheritable).
    """
    return f'while [ "$(stat -c %Y {file} 2>/dev/null)" = "$(date +%s)" ]; do sleep 0.05; done'


class ServiceOnHost:
    """Methods for a class that has the service's name and its host."""

    host: str
    name: str

    @property
    def cert(self) -> str:
        return f"{CERT_DIR}/{self.fqdn}.pem"

    @property
    def key(self) -> str:
        return f"{KEY_DIR}/{self.fqdn}.pem"

    @property
    def fqdn(self) -> str:
        return f"{self.name}.internal"

    @property
    def unit(self) -> str:
        return f"step@{self.name}.service"

    @property
    def timer(self) -> str:
        return f"step@{self.name}.timer"

    @property
    def nginx_user(self) -> str:
        return "www-data" if layout.flavour(self.host) == "debian" else "nginx"

    def sh(self, command: str, *, check: bool = True, stdin: str | None = None) -> str:
        """Run a shell command on the host and return its output."""
        done = hosts.run(self.host, command, check=False, input=stdin)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        self.sh(f"install -D -m {mode} /dev/stdin {shlex.quote(path)}", stdin=text)

    def mint(self, lifetime: str = "24h", *options: str, san: str = "", cert: str = "", key: str = "") -> None:
        """A pair of the CA's with the owner, modes and ACL of the runbook, as a person would make it by hand."""
        san, cert, key = san or self.fqdn, cert or self.cert, key or self.key
        self.sh(
            f"{another_second_than(cert)};"
            f" mkdir -p {Path(cert).parent} {Path(key).parent}; umask 077;"
            " step ca certificate --force --provisioner lair --provisioner-password-file /dev/stdin"
            f" --ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST} --not-after {lifetime} {shlex.join(options)}"
            f" --san {san} {san} {cert} {key} 2>&1"
            f" && chmod 0644 {cert} && chmod 0640 {key} && setfacl -m u:{self.nginx_user}:r {key}",
            stdin=layout.current().password.read_text(),
        )

    def stub(self, command: str, script: str) -> None:
        """Put a script before a command of the host's PATH; `$real` is the command itself."""
        real = self.sh(f"PATH=/usr/sbin:/usr/bin command -v {command}").strip()
        self.write(f"/usr/local/sbin/{command}", f"#!/bin/sh\nreal={real}\n{script}\n", "0755")
