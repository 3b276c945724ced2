"""A service that the tests provision on a lab host: what is there, and what an operator was told."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.services import dns, hosts
from meshfab.ssh import script
from tests.integration.service_on_host import ServiceOnHost

if TYPE_CHECKING:
    import subprocess

RUNBOOK = Path(__file__).with_name("runbook.sh")
# Beside what meshfab may write to, the places where an interrupted run could leave something.
FOLDERS = ("/etc", "/usr/local", "/tmp", "/opt", "/srv", "/root", "/home")

_numbers = itertools.count(1)


@dataclass
class Site(ServiceOnHost):
    """One name on one host; the name is a new one unless it is given."""

    host: str
    name: str = field(default_factory=lambda: f"site-{os.getpid()}-{next(_numbers)}")
    is_sound: bool = True

    def __post_init__(self) -> None:
        dns.point(self.name, self.host)

    @property
    def words(self) -> tuple[str, ...]:
        """What every command for it takes."""
        return ("--name", self.name, "--host", self.host)

    @property
    def secret(self) -> str:
        return f"/tmp/{self.name}-provisioner"

    @property
    def vhost(self) -> str:
        folder = "sites-available" if layout.flavour(self.host) == "debian" else "conf.d"
        return f"/etc/nginx/{folder}/{self.fqdn}.conf"

    def sh(self, command: str, *, check: bool = True, stdin: str | None = None) -> str:
        """As above, without the blanks around the output."""
        return super().sh(command, check=check, stdin=stdin).strip()

    def serial(self) -> str:
        """Of the certificate on disk."""
        return self.sh(f"openssl x509 -noout -serial -in {self.cert}")

    def served(self, port: int = 443) -> str:
        """The serial of what a client gets at the host's mesh address."""
        address = hosts.address(self.host)
        at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return self.sh(
            f"openssl s_client -connect {at} -servername {self.fqdn} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial 2>/dev/null",
            check=False,
        )

    def look(self) -> dict[str, str]:
        return hosts.describe_files(self.host, FOLDERS)

    def workers(self) -> str:
        # nginx lets the old ones go on for a tenth of a second after a reload: asked until nothing changes.
        now = "now=$(pgrep -f '^nginx: worker process$')"
        return self.sh(f'was=; while {now}; [ "$now" != "$was" ]; do was=$now; sleep 0.2; done; echo "$now"')

    def logins(self) -> int:
        """How many SSH logins the host has seen."""
        return self._logged("sshd -t sshd-session", "^Accepted ")

    def commands(self) -> int:
        """How many commands sudo has run."""
        return self._logged("sudo", "COMMAND=")

    def _logged(self, who: str, pattern: str) -> int:
        return int(self.sh(f"journalctl --sync; journalctl -q -t {who} -o cat | grep -c '{pattern}' || :"))

    def leftovers(self) -> str:
        """What a finished run must not leave: the password at once, the rest as soon as its shell has ended."""
        at_once = self.sh(f"ls -d {self.secret} /tmp/.meshfab-* 2>/dev/null", check=False)
        soon = (
            "ls -d /run/meshfab/*.stage 2>/dev/null;"
            " find /etc /usr/local -name '.*.old' -o -name '.*.new' -o -name '.*.tick' -o -name '.*.prev';"
            " systemctl list-units --all --plain --no-legend 'meshfab-reap-*'"
        )
        waiting = f'n=0; while left=$({soon}); [ -n "$left" ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done'
        return at_once + self.sh(f'{waiting}; echo "$left"', check=False)

    def runbook(self) -> None:
        """Set it up as a person does who has never heard of meshfab."""
        self.sh(f"umask 077; cat >{self.secret}", stdin=layout.current().password.read_text())
        self.sh(f"cat >/root/runbook.sh && sh /root/runbook.sh {self.name} 2>&1", stdin=RUNBOOK.read_text())

    def timer_state(self) -> dict[str, str]:
        """The timer's state as systemd shows it.

        Where a unit was enabled without a reload, systemd 255 and newer wants a reload for every unit, also for
        `init.scope`, which has no file. Our own script then tells whether systemd has read this one.
        """
        shown = (
            f'{script.text("library")}\nif [ "$(systemctl show -P NeedDaemonReload init.scope)" = yes ];'
            f" then show_units {self.timer}; else systemctl show {self.timer}; fi"
        )
        state = dict(row.split("=", 1) for row in self.sh(shown).splitlines() if "=" in row)
        return {key: state[key] for key in ("ActiveState", "UnitFileState", "NeedDaemonReload")}


def curl(site: Site, path: str = "/", *more: str, start: str = "h3") -> str:
    """What another host of the mesh gets, its trust being the mesh's root."""
    return hosts.run(
        start,
        [
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            "10",
            "--cacert",
            str(layout.ROOT_ON_HOST),
            *more,
            f"https://{site.fqdn}{path}",
        ],
    ).stdout


def get_json(site: Site, path: str = "/", *more: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(curl(site, path, *more))
    return found


def assert_done(done: subprocess.CompletedProcess[str]) -> str:
    """It succeeded without a word of complaint; returns what it said."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """It failed in one line on stderr that holds the words and a remedy; returns the line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert " -> " in done.stderr, done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip()
