"""What the tests of the renewal tick share: a service that was set up by hand, and the runs of its unit.

A service has no settings file unless a test writes one, so every test also shows that our units renew a service that
meshfab did not set up. A test module takes the fixtures over by name:

    installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import layout
from lab.services import hosts
from tests.integration.service_on_host import CERT_DIR, KEY_DIR, ServiceOnHost, another_second_than

UNIT_FILES = Path(__file__).parents[2] / "unit-files"
HELPER = "/usr/local/libexec/meshfab-tick"
ROOT = str(layout.ROOT_ON_HOST)
RUN_DIR = "/run/meshfab"
# A certificate is valid from a minute before its issue, and due when two thirds of its lifetime are over. One that is
# issued for 30 seconds is due at once, one for a day is not.
DUE = "30s"
FRESH = "24h"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Tick:
    """The result of one run of the unit: systemd's status and the lines in the journal."""

    ok: bool
    lines: list[str]
    errors: list[str]

    @property
    def error(self) -> str:
        """The only line of a failed tick."""
        assert not self.ok
        assert self.lines == self.errors, "a failed tick logs one line, at error level"
        assert len(self.errors) == 1, self.errors
        return self.errors[0]


@dataclass
class Service(ServiceOnHost):
    """A name with its pair and vhost on one host; each test has a new name."""

    host: str
    name: str = ""
    cert: str = ""
    key: str = ""
    _lines_read: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        # The journal of a host outlives a test session, so the name has to be a new one there, too.
        self.name = self.name or f"tick-{os.getpid()}-{next(_numbers)}"
        self.cert = self.cert or f"{CERT_DIR}/{self.fqdn}.pem"
        self.key = self.key or f"{KEY_DIR}/{self.fqdn}.pem"

    def wait_for(self, condition: str, before: str = ":") -> None:
        """Wait until a shell command succeeds on the host, after another one that sets its variables."""
        loop = f"until {condition}; do tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05; done"
        self.sh(f"{before}; tries=0; {loop}")

    def renew_in_place(self) -> None:
        """Renew as the runbook's unit does, without staging, and lose the reload."""
        renew = f"step ca renew --force --ca-url {layout.CA_URL} --root {ROOT} {self.cert} {self.key}"
        self.sh(f"{another_second_than(self.cert)}; {renew}")

    def serve(self, lifetime: str = FRESH, *listens: str) -> Service:
        """Issue a pair and let nginx serve it."""
        self.mint(lifetime)
        lines = [f"listen {listen};" for listen in listens or ("443 ssl",)]
        lines += [f"server_name {self.fqdn};", f"ssl_certificate {self.cert};", f"ssl_certificate_key {self.key};"]
        self.write_config("server { " + " ".join(lines) + " }\n")
        self.reload_nginx()
        return self

    def write_config(self, text: str) -> None:
        self.write(f"/etc/nginx/conf.d/{self.name}.conf", text)

    @contextmanager
    def broken_config(self, text: str = "nonsense;\n") -> Iterator[None]:
        self.write("/etc/nginx/conf.d/broken.conf", text)
        try:
            yield
        finally:
            self.sh("rm /etc/nginx/conf.d/broken.conf")

    def reload_nginx(self) -> None:
        """Reload, and wait until only new workers accept connections."""
        self.wait_for_old_workers()
        old = "|".join(self.workers().split())
        self.sh("systemctl reload nginx")
        self.wait_for(f"now=$({_WORKERS}) && ! echo \"$now\" | grep -qxE '{old}'")

    def wait_for_old_workers(self) -> None:
        """Wait until old workers accept no more connections; nginx lets them go on for 0.1 s beside the new ones."""
        self.wait_for('! systemctl --quiet is-active nginx || [ "$(pgrep -fc "$title")" = "$wanted" ]', _CONFIGURED)

    def workers(self) -> str:
        return self.sh(_WORKERS)

    def force(self) -> None:
        self.sh(f"mkdir -p -m 0700 {RUN_DIR}; touch {RUN_DIR}/{self.name}.force")

    def tick(self, *, forget_marks: bool = True) -> Tick:
        """Start the unit, as its timer does, and read what it logs.

        Args:
            forget_marks: make it unknown when nginx last accepted its configuration or reloaded.
        """
        forget = f"rm -f {RUN_DIR}/.nginx.accepted {RUN_DIR}/.nginx.reloaded;" if forget_marks else ""
        output = self.sh(
            f"{forget} systemctl start {self.unit} 2>/dev/null; echo $?;"
            f" journalctl --sync; journalctl -o json _SYSTEMD_UNIT={self.unit}"
        )
        self.wait_for_old_workers()
        status, *rest = output.splitlines()
        lines = [json.loads(line) for line in rest]
        new, self._lines_read = lines[self._lines_read :], len(lines)
        errors = [line["MESSAGE"] for line in new if int(line["PRIORITY"]) <= 3]
        return Tick(status == "0", [line["MESSAGE"] for line in new], errors)

    @contextmanager
    def held_lock(self, lock: str) -> Iterator[None]:
        """A process that holds a lock until the block ends, and calls itself an operator."""
        self.sh(
            f"mkdir -p -m 0700 {RUN_DIR}; systemd-run --quiet --unit=holder --collect flock {lock}"
            f" sh -c 'echo provision by ops@laptop >{lock}; exec sleep infinity'"
        )
        try:
            self.wait_for(f"grep -qs ops@laptop {lock}")
            yield
        finally:
            self.sh("systemctl stop holder")

    def pair_state(self) -> str:
        """What a failed renewal must not change: content, inode, owner, mode, time and ACL of both files."""
        return self.sh(
            f"sha256sum {self.cert} {self.key}; stat -c '%i %u:%g %a %Y' {self.cert} {self.key};"
            f" getfacl -cp {self.cert} {self.key}"
        )

    def attributes(self) -> str:
        """What a successful renewal must not change: owner, mode and ACL of both files, and the key."""
        return self.sh(
            f"stat -c '%u:%g %a' {self.cert} {self.key}; getfacl -cp {self.cert} {self.key}; sha256sum {self.key}"
        )

    def serial_on_disk(self) -> str:
        """The serial of the certificate on disk."""
        return self.sh(f"openssl x509 -noout -serial -in {self.cert}").strip()

    def served_serial(self, address: str = "127.0.0.1:443") -> str:
        """The serial of the certificate that a client gets; empty if there is none."""
        return self.sh(
            f"openssl s_client -connect {address} -servername {self.fqdn} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial",
            check=False,
        ).strip()

    def leftovers(self) -> str:
        return self.sh(f"find {CERT_DIR} {KEY_DIR} -name '.{self.fqdn}*'")

    def reloads(self) -> int:
        """How often nginx has reloaded since the host started."""
        return int(self.sh("journalctl --sync; journalctl -u nginx -o cat | grep -c ^Reloaded || :"))

    def unstub(self) -> None:
        self.sh("rm -f /usr/local/sbin/*")

    def mint_command(self) -> str:
        """What a tick tells the operator to run when only a new certificate helps."""
        return f"run: inv provision --name {self.name} --host {self.sh('uname -n').strip()}"

    def files(self) -> str:
        """Every file of the service on the host, as arguments of a shell command."""
        return (
            f"/etc/nginx/conf.d/{self.name}.conf /etc/meshfab/{self.name}.*"
            f" {RUN_DIR}/{self.name}.* /var/lib/meshfab/{self.name}.* {self.cert} {self.key}"
            f" {CERT_DIR}/.{self.fqdn}* {KEY_DIR}/.{self.fqdn}*"
        )


MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def installed_units(mesh: object) -> Iterator[None]:  # noqa: ARG001
    """The units on h1 (as on Debian) and h2 (as on Fedora)."""
    without_units = [host for host in ("h1", "h2") if hosts.run(host, ["test", "-e", HELPER], check=False).returncode]
    for host in ("h1", "h2"):
        install_units(host)
    yield
    for host in without_units:
        uninstall_units(host)


@pytest.fixture
def make(installed_units: None) -> Iterator[MakeService]:  # noqa: ARG001
    """A function that makes services; their files are removed after the test."""
    services: list[Service] = []

    def make_service(host: str = "h2", *, name: str = "", cert: str = "", key: str = "") -> Service:
        services.append(Service(host, name, cert, key))
        return services[-1]

    yield make_service
    for host in {service.host for service in services}:
        remove = "\n".join(f"rm -rf {service.files()}" for service in services if service.host == host)
        reset = "rm -f /usr/local/sbin/*; systemctl reset-failed 'step@*' nginx"
        hosts.run(host, ["sh"], input=f"{remove}\n{reset}\n", check=False)
        hosts.run(host, "systemctl start nginx")
        Service(host).reload_nginx()


@pytest.fixture
def service(make: MakeService) -> Service:
    """A service that nginx serves, with a certificate that is not due."""
    return make().serve()


# A worker that finishes its last connections has another title.
_WORKERS = "pgrep -f '^nginx: worker process$'"
# How many workers there are when the old ones have gone.
_CONFIGURED = (
    "title='^nginx: worker process$';"
    " wanted=$(sed -n 's/^ *worker_processes *\\([^;]*\\);.*/\\1/p' /etc/nginx/nginx.conf);"
    ' [ "$wanted" != auto ] || wanted=$(getconf _NPROCESSORS_ONLN); wanted=${wanted:-1}'
)


def install_units(host: str) -> None:
    """Install the units and meshfab-tick as meshfab does."""
    for name, folder, mode in (
        ("meshfab-tick", "/usr/local/libexec", "0755"),
        ("meshfab-history", "/usr/local/libexec", "0755"),
        ("step@.service", "/etc/systemd/system", "0644"),
        ("step@.timer", "/etc/systemd/system", "0644"),
    ):
        hosts.run(
            host,
            f"install -D -m {mode} /dev/stdin '{folder}/{name}'",
            input=(UNIT_FILES / name).read_text(),
        )
    hosts.run(host, "systemctl daemon-reload")


def uninstall_units(host: str) -> None:
    """Remove what `install_units` and the tests have added to the host."""
    files = "/etc/systemd/system/step@.service /etc/systemd/system/step@.timer /usr/local/libexec/meshfab-*"
    hosts.run(host, f"rm -rf {files} /etc/meshfab /run/meshfab /var/lib/meshfab; systemctl daemon-reload")
    hosts.run(host, "rmdir --ignore-fail-on-non-empty -p /usr/local/libexec; rm -rf /etc/own-tls /srv/tls", check=False)
