"""One service on a lab host, set up by hand as the runbook does it, and the ticks of its unit."""

from __future__ import annotations

import itertools
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lab import layout
from lab.services import hosts

UNIT_FILES = Path(__file__).parents[2] / "unit-files"
HELPER = "/usr/local/libexec/meshfab-tick"
CERT_DIR = "/etc/nginx/tls/cert"
KEY_DIR = "/etc/nginx/tls/key"
ROOT = str(layout.ROOT_ON_HOST)
# A certificate begins a minute before it is issued, and is due when two thirds of its life are
# over: with half a minute to live it is due from the start, with a day it is not.
DUE = "30s"
FRESH = "24h"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Tick:
    """What one run of the unit came to: systemd's verdict and the helper's own journal lines."""

    ok: bool
    lines: list[str]
    errors: list[str]

    @property
    def error(self) -> str:
        """The one line of a failed tick."""
        assert not self.ok
        assert self.lines == self.errors, "a failed tick says one thing, at error level"
        assert len(self.errors) == 1, self.errors
        return self.errors[0]


@dataclass
class Service:
    """A name, its pair and its vhost on one host; the name is new in each test."""

    host: str
    name: str = ""
    cert: str = ""
    key: str = ""
    _seen: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        # The journal of a host outlives a test session.
        self.name = self.name or f"tick-{os.getpid()}-{next(_numbers)}"
        self.cert = self.cert or f"{CERT_DIR}/{self.fqdn}.pem"
        self.key = self.key or f"{KEY_DIR}/{self.fqdn}.pem"

    @property
    def fqdn(self) -> str:
        return f"{self.name}.internal"

    @property
    def unit(self) -> str:
        return f"step@{self.name}.service"

    @property
    def nginx_user(self) -> str:
        return "www-data" if layout.flavour(self.host) == "debian" else "nginx"

    def sh(self, command: str, *, check: bool = True, stdin: str | None = None) -> str:
        """Run a shell line on the host and return what it printed."""
        done = hosts.run(self.host, command, check=False, input=stdin)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        self.sh(f"install -D -m {mode} /dev/stdin {shlex.quote(path)}", stdin=text)

    def mint(self, life: str = FRESH, *, fqdn: str = "", cert: str = "", key: str = "") -> None:
        """A pair with the runbook's owner, modes and ACL."""
        fqdn, cert, key = fqdn or self.fqdn, cert or self.cert, key or self.key
        self.sh(
            f"mkdir -p {Path(cert).parent} {Path(key).parent}; umask 077;"
            " step ca certificate --force --provisioner lair"
            " --provisioner-password-file /dev/stdin"
            f" --ca-url {layout.CA_URL} --root {ROOT} --not-after {life}"
            f" --san {fqdn} {fqdn} {cert} {key} 2>&1"
            f" && chmod 0644 {cert} && chmod 0640 {key} && setfacl -m u:{self.nginx_user}:r {key}",
            stdin=layout.current().password.read_text(),
        )

    def renew_in_place(self) -> None:
        """What the runbook's own unit does: no staging, and here no reload either."""
        self.sh(f"step ca renew --force --ca-url {layout.CA_URL} --root {ROOT} {self.cert} {self.key}")

    def vhost(self, *listens: str, more: str = "") -> None:
        """A server for the name, loaded by nginx."""
        lines = [f"listen {listen};" for listen in listens or ("443 ssl",)]
        lines += [f"server_name {self.fqdn};", f"ssl_certificate {self.cert};"]
        lines += [f"ssl_certificate_key {self.key};", more]
        self.conf("server { " + " ".join(lines) + " }\n")
        self.reload_nginx()

    def conf(self, text: str) -> None:
        self.write(f"/etc/nginx/conf.d/{self.name}.conf", text)

    def reload_nginx(self) -> None:
        """Reload, and wait until the old workers take no more connections."""
        old = self.workers()
        self.sh("systemctl reload nginx")
        self.sh(f'for i in $(seq 100); do [ "$({_WORKERS})" = {shlex.quote(old)} ] || exit 0; sleep 0.02; done; exit 1')
        self.sh("sleep 0.1")

    def workers(self) -> str:
        return self.sh(_WORKERS).strip()

    def force(self) -> None:
        self.sh(f"mkdir -p -m 0700 /run/meshfab; touch /run/meshfab/{self.name}.force")

    def tick(self) -> Tick:
        """Start the unit, as its timer does, and read what it says."""
        printed = self.sh(
            f"rm -f /run/meshfab/nginx.*ed; systemctl start {self.unit} 2>/dev/null; echo $?;"
            f" journalctl --sync; journalctl -o json _SYSTEMD_UNIT={self.unit}"
        )
        status, *rest = printed.splitlines()
        lines = [json.loads(line) for line in rest]
        new, self._seen = lines[self._seen :], len(lines)
        errors = [line["MESSAGE"] for line in new if int(line["PRIORITY"]) <= 3]
        return Tick(status == "0", [line["MESSAGE"] for line in new], errors)

    def pair(self) -> str:
        """Everything that a renewal may not touch when it fails: bytes, inode, owner, mode, ACL."""
        return self.sh(
            f"sha256sum {self.cert} {self.key}; stat -c '%i %u:%g %a %Y' {self.cert} {self.key};"
            f" getfacl -cp {self.cert} {self.key}"
        )

    def attributes(self) -> str:
        return self.sh(
            f"stat -c '%u:%g %a' {self.cert} {self.key}; getfacl -cp {self.cert} {self.key}; sha256sum {self.key}"
        )

    def on_disk(self) -> str:
        """The serial of the certificate on disk."""
        return self.sh(f"openssl x509 -noout -serial -in {self.cert}").strip()

    def served(self, at: str = "127.0.0.1:443") -> str:
        """The serial of what a client gets."""
        return self.sh(
            f"openssl s_client -connect {at} -servername {self.fqdn} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial",
            check=False,
        ).strip()

    def leftovers(self) -> str:
        return self.sh(f"find {CERT_DIR} {KEY_DIR} -name '.{self.fqdn}*'")

    def reloads(self) -> int:
        """How often nginx was told to reload since the host came up."""
        return int(self.sh("journalctl --sync; journalctl -u nginx -o cat | grep -c ^Reloaded || :"))

    def stub(self, command: str, script: str) -> None:
        """Put a script before a command of the tick's PATH; `$real` is the command itself."""
        real = self.sh(f"PATH=/usr/sbin:/usr/bin command -v {command}").strip()
        self.write(f"/usr/local/sbin/{command}", f"#!/bin/sh\nreal={real}\n{script}\n", "0755")

    def unstub(self) -> None:
        self.sh("rm -f /usr/local/sbin/*")

    def traces(self) -> str:
        """Every file of it on the host, as words of a shell line."""
        return (
            f"/etc/nginx/conf.d/{self.name}.conf /etc/meshfab/{self.name}.*"
            f" /run/meshfab/{self.name}.* /var/lib/meshfab/{self.name}.* {self.cert} {self.key}"
            f" {CERT_DIR}/.{self.fqdn}* {KEY_DIR}/.{self.fqdn}*"
        )


_WORKERS = "pgrep -f '^nginx: worker process$' | tr '\\n' ' '"


def install(host: str) -> None:
    """The units and the helper, where and how they are installed for real."""
    for name, folder, mode in (
        ("meshfab-tick", "/usr/local/libexec", "0755"),
        ("step@.service", "/etc/systemd/system", "0644"),
        ("step@.timer", "/etc/systemd/system", "0644"),
    ):
        hosts.run(
            host,
            f"install -D -m {mode} /dev/stdin '{folder}/{name}'",
            input=(UNIT_FILES / name).read_text(),
        )
    hosts.run(host, "systemctl daemon-reload")


def uninstall(host: str) -> None:
    """The host as `install` found it, for the tests that come after."""
    units = "/etc/systemd/system/step@.service /etc/systemd/system/step@.timer"
    hosts.run(host, f"rm -rf {units} {HELPER} /etc/meshfab /run/meshfab /var/lib/meshfab; systemctl daemon-reload")
    hosts.run(host, "rmdir --ignore-fail-on-non-empty -p /usr/local/libexec; rm -rf /etc/own-tls /srv/tls", check=False)
