"""The crash matrix: every fault at every boundary of `provision` and of `rekey`, and what it must never cost.

A cell starts from a service that is served, asks for a new pair (one more name, or a new key), strikes, and looks at
the host from within: the password is gone, the pair is whole and nginx serves it. Then the fault is mended, and one
more run converges: no certificate of the key before a re-key can be renewed.
`lab/operator python -m tests.integration.crash` tries every cell, or those of the commands that are named, and writes
the result of each command into docs/explanation/promises.md.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import meshfab
from lab import layout
from lab.faults import faults
from lab.services import ca, hosts
from tests.integration import ssh_agent

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "explanation" / "promises.md"
BEGIN, END = "<!-- crash-matrix:begin -->", "<!-- crash-matrix:end -->"
HOST, NAME = "h2", "crash"
FQDN = f"{NAME}.internal"
_PROVISION = {1: "probe", 2: "lock", 3: "mint", 4: "commit", 5: "remove_backups"}
# The host makes its request in the round trip that locks, and what the operator got signed is put in place in the next.
_SIGNED_HERE = {1: "probe", 2: "lock", 3: "commit", 4: "remove_backups"}
# Each command, and its round trips.
BOUNDARIES = {
    "provision": _PROVISION,
    "provision --signing operator": _SIGNED_HERE,
    "provision --signing agent": _SIGNED_HERE,
    "rekey": {1: "probe", 2: "tick", 3: "proof"},
}
MOMENTS = ("before", "during", "amid", "after")
AGENT_PROVISIONER = "crash-agent"
# Five times the reaper's time in crash_operator.py.
REAPED_SECONDS = 30.0

Operator = subprocess.Popen[str]
Act = Callable[[Operator], None]


@dataclass(frozen=True)
class Fault:
    """What strikes, how it is mended, and whether the operator's side can clean up at once."""

    strike: Act
    mend: Callable[[], object] = lambda: None
    at_once: bool = True


def _signals(*numbers: int) -> Act:
    def send(operator: Operator) -> None:
        for number in numbers:
            operator.send_signal(number)
            time.sleep(0.03)

    return send


def _strike(action: Callable[[], object]) -> Act:
    def act(_operator: Operator) -> None:
        action()

    return act


def _slow_ca(_operator: Operator) -> None:
    ca.pause()
    threading.Timer(1.0, ca.resume).start()


FAULTS = {
    "kill -9": Fault(_signals(signal.SIGKILL), at_once=False),
    "SIGTERM": Fault(_signals(signal.SIGTERM)),
    "Ctrl-C": Fault(_signals(signal.SIGINT)),
    "Ctrl-C twice": Fault(_signals(signal.SIGINT, signal.SIGINT)),
    "link cut": Fault(_strike(lambda: faults.cut(HOST)), lambda: faults.restore(HOST), at_once=False),
    "sshd killed": Fault(_strike(lambda: faults.kill_sshd_sessions(HOST))),
    "host rebooted": Fault(_strike(lambda: faults.reboot(HOST)), at_once=False),
    "pair's disk full": Fault(
        _strike(lambda: faults.fill(HOST, "/etc/nginx/tls")), lambda: faults.free(HOST, "/etc/nginx/tls")
    ),
    "/tmp full": Fault(_strike(lambda: faults.fill(HOST, "/tmp")), lambda: faults.free(HOST, "/tmp")),
    "CA stopped": Fault(_strike(ca.stop), ca.start),
    "CA slow": Fault(_slow_ca, ca.resume),
}


@dataclass(frozen=True)
class Cell:
    """One fault at one moment of one boundary."""

    fault: str
    boundary: int
    moment: str
    command: str = "provision"

    def __str__(self) -> str:
        return f"{self.fault}, {self.moment} {BOUNDARIES[self.command][self.boundary]} of {self.command}"


@dataclass(frozen=True)
class NamedCell:
    """One fault at one moment of one boundary, which is named by its script."""

    command: ClassVar[str]

    fault: str
    boundary: str
    moment: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.moment} {self.boundary} of {self.command}"


KINDS = ("leaks", "mixes", "outages", "unhealed")
COLUMNS = ("cells", *KINDS)


@dataclass
class Result:
    """What a cell cost; all of it must be empty."""

    cell: object
    leaks: list[str] = field(default_factory=list)
    mixes: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)

    @property
    def costs(self) -> list[str]:
        return [*self.leaks, *self.mixes, *self.outages, *self.unhealed]


def cells() -> list[Cell]:
    """Every cell: all faults at all moments of all boundaries of all commands."""
    return [
        Cell(fault, boundary, moment, command)
        for command, boundaries in BOUNDARIES.items()
        for fault, boundary, moment in itertools.product(FAULTS, boundaries, MOMENTS)
    ]


@contextmanager
def prepared(folder: Path) -> Iterator[dict[str, dict[str, str]]]:
    """A service that is served, to start from, and what the environment adds for each command."""
    key = ssh_agent.make_key(folder / "key", "ecdsa")
    ca.add_provisioner({"type": "JWK", "name": AGENT_PROVISIONER, "key": key.jwk, "claims": ca.CLAIMS})
    try:
        done = inv({}, "provision", "--name", NAME, "--host", HOST)
        if done.returncode:
            raise RuntimeError(done.stderr)
        with ssh_agent.started(folder) as agent:
            agent.add(str(key.path))
            with_agent = {"INVOKE_MESHFAB_PROVISIONER": AGENT_PROVISIONER, **agent.env}
            yield {command: with_agent if command.endswith("agent") else {} for command in BOUNDARIES}
    finally:
        ca.remove_provisioner(AGENT_PROVISIONER)


def run_cell(cell: Cell, number: int, env: Mapping[str, str]) -> Result:
    """Strike once and look.

    Args:
        cell: what to try.
        number: makes the name that this cell's new pair is asked for with.
        env: what the environment adds for its command.
    """
    fault, result = FAULTS[cell.fault], Result(cell)
    wanted, new_name = [*cell.command.split(), "--name", NAME, "--host", HOST], FQDN
    if wanted[0] == "provision":
        new_name = f"cell{number}.internal"
        wanted += ["--san", new_name]
    before, old_key = disk(), _key_digest()
    try:
        said = struck(str(cell), str(cell.boundary), cell.moment, fault, wanted, env)
        result.leaks += leaks(fault.at_once, said)
        result.mixes += mixes(before, new_name)
        result.outages += outages(before)
    finally:
        fault.mend()
    healed = inv(env, *wanted)
    if healed.returncode or _left("/etc/nginx"):
        result.unhealed.append(f"one more run: {healed.returncode} {healed.stderr} {_left('/etc/nginx')}")
    if cell.command == "rekey" and (live := _live(old_key)):
        result.unhealed.append(f"the old key still renews {live}")
    return result


def _key_digest() -> str:
    """The digest of the key in use, as the history has it."""
    line = f"openssl pkey -in /etc/nginx/tls/key/{FQDN}.pem -pubout -outform DER | sha256sum"
    return hosts.run(HOST, line).stdout.split()[0]


def _live(key_digest: str) -> str:
    """The serials of a key that are not revoked."""
    line = f'awk \'$4 == "{key_digest}" && $6 == "live" {{ print $1 }}\' /var/lib/meshfab/{NAME}.history'
    return hosts.run(HOST, line).stdout.strip()


def struck(cell: str, boundary: str, moment: str, fault: Fault, wanted: list[str], env: Mapping[str, str]) -> str:
    """Run a command until it comes to the boundary, strike there, and return what it says to its end."""
    argv = [sys.executable, str(Path(__file__).with_name("crash_operator.py")), boundary, moment]
    # A background job of a script is started deaf to Ctrl-C, and so would be what it starts.
    operator = subprocess.Popen(
        ["env", "--default-signal=INT", *argv, *wanted],
        cwd=CHECKOUT,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert operator.stdout
    for line in operator.stdout:
        if line.startswith("AT "):
            break
    else:
        raise RuntimeError(f"{cell}: the run never came there")
    fault.strike(operator)
    try:
        return operator.communicate("\n", timeout=90)[0]
    except subprocess.TimeoutExpired:
        operator.kill()
        raise RuntimeError(f"{cell}: the run does not end: {operator.communicate()[0]}") from None


def leaks(at_once: bool, said: str, host: str = HOST) -> list[str]:
    """What lies in /tmp that must not, at once or after the reaper's time."""
    deadline = time.monotonic() + (0.0 if at_once else REAPED_SECONDS)
    while left := _left("/tmp", host):
        if time.monotonic() > deadline:
            return [f"left in /tmp: {left}; the operator was told: {said.strip()}"]
        time.sleep(0.1)
    return []


def _left(folder: str, host: str = HOST) -> str:
    """Password files, and files of an interrupted move."""
    suffixes = ("old", "new", "tick", "prev", "replaced")
    names = " -o ".join(["-name '*-provisioner'", "-name '.meshfab-*'", *(f"-name '.*.{each}'" for each in suffixes)])
    return hosts.run(host, rf"find {folder} \( {names} \)", check=False).stdout.strip()


def left(name: str) -> str:
    """Everything on the host whose name has the service's."""
    folders = "/etc /usr/local /var/lib /run/meshfab /tmp"
    return hosts.run(HOST, f"find {folders} -name '*{name}*'", check=False).stdout.strip()


def renews(pair: str) -> bool:
    """Whether the CA still renews the pair in this folder, for whoever has a copy; False while the CA is stopped."""
    renew = f"step ca renew --force --out /root/out.pem --ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST}"
    return hosts.run(HOST, f"{renew} {pair}/cert {pair}/key", check=False).returncode == 0


def disk() -> tuple[str, str]:
    """The live certificate's SHA-256 and names."""
    line = f"openssl x509 -in /etc/nginx/tls/cert/{FQDN}.pem -noout -fingerprint -sha256 -ext subjectAltName"
    said = hosts.run(HOST, line, check=False).stdout.splitlines()
    return (said[0].rpartition("=")[2].replace(":", "").lower(), said[-1]) if said else ("", "")


def mixes(before: tuple[str, str], name: str) -> list[str]:
    """A pair that is neither the old one nor the new one."""
    match = (
        f"c=$(openssl x509 -in /etc/nginx/tls/cert/{FQDN}.pem -noout -pubkey) &&"
        f' k=$(openssl pkey -in /etc/nginx/tls/key/{FQDN}.pem -pubout) && [ "$c" = "$k" ]'
    )
    # A tick that nobody stopped may be between its two renames: it is looked at again when the tick has ended.
    ended = f"for _ in $(seq 600); do systemctl is-active -q step@{NAME}.service || break; sleep 0.1; done"
    if hosts.run(HOST, f"is_pair() {{ {match}; }}; is_pair || {{ {ended}; is_pair; }}", check=False).returncode:
        return ["the certificate is not the key's"]
    now = disk()
    return [] if now[0] == before[0] or name in now[1] else [f"neither the old pair nor the new one: {now}"]


def outages(before: tuple[str, str]) -> list[str]:
    """A configuration that nginx refuses, or another certificate on the wire than the old or the new one."""
    # Twice: a file that is removed in just that moment is listed by nginx, and then not there.
    test = hosts.run(HOST, "nginx -t 2>/dev/null || nginx -t", check=False)
    if test.returncode:
        return [f"nginx -t: {test.stderr}"]
    ask = f"openssl s_client -connect 127.0.0.1:443 -servername {FQDN} </dev/null"
    line = f"{ask} | openssl x509 -noout -fingerprint -sha256"
    said = hosts.run(HOST, line, check=False).stdout
    leaf = said.strip().rpartition("=")[2].replace(":", "").lower()
    return [] if leaf in (before[0], disk()[0]) and leaf else [f"clients get {leaf or 'nothing'}"]


def inv(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).with_name("inv")), *words]
    return subprocess.run(
        argv,
        cwd=CHECKOUT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def main() -> int:
    """Try every cell, or those of the commands that are named, and print the table."""
    from lab.services import dns
    from tests.integration import crash_move, crash_retirement

    for name in (NAME, crash_retirement.NAME):
        dns.point(name, HOST)
    everything: list[Cell | crash_retirement.Cell | crash_move.Cell]
    everything = [*cells(), *crash_retirement.cells(), *crash_move.cells()]
    tried = [cell for cell in everything if not sys.argv[1:] or cell.command in sys.argv[1:]]
    totals: dict[str, Counter[str]] = {}
    with TemporaryDirectory() as folder, prepared(Path(folder)) as environments:
        for number, cell in enumerate(tried, 1):
            began = time.monotonic()
            if isinstance(cell, Cell):
                result = run_cell(cell, number, environments[cell.command])
            elif isinstance(cell, crash_move.Cell):
                result = crash_move.run_cell(cell)
            else:
                result = crash_retirement.run_cell(cell)
            totals.setdefault(cell.command, Counter()).update(
                ["cells", *(kind for kind in KINDS if getattr(result, kind))]
            )
            verdict = "; ".join(result.costs) or "ok"
            print(f"{number:3}/{len(tried)} {cell}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
    record(totals)
    return int(any(total[kind] for total in totals.values() for kind in KINDS))


def record(totals: Mapping[str, Counter[str]]) -> None:
    """Print a row for each command, and write it into the page with the date and the versions."""
    show = "nginx -v 2>&1; systemctl --version | head -n 1; step version | head -n 1"
    versions = hosts.run(HOST, show).stdout.replace("nginx version: ", "").splitlines()
    by = f"{datetime.now(timezone.utc):%Y-%m-%d}, meshfab {meshfab.__version__}, {', '.join(versions)}"
    rows = {
        command: f"| `{command}` | {' | '.join(str(total[column]) for column in COLUMNS)} | {by} |"
        for command, total in totals.items()
    }
    print("", *rows.values(), sep="\n")
    with PAGE.open("r+", encoding="utf-8") as page:
        # Another lab may try another command at the same time.
        fcntl.flock(page, fcntl.LOCK_EX)
        text = recorded(page.read(), rows)
        page.seek(0)
        page.truncate()
        page.write(text)


def recorded(page: str, rows: Mapping[str, str]) -> str:
    """The page with the rows of these commands between its markers; those of other commands stay as they are."""
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    known = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    known.update(rows)
    head = [f"| Command | {' | '.join(COLUMNS)} | measured |", "|---" * (len(COLUMNS) + 2) + "|"]
    return "\n".join([f"{before}{BEGIN}", *head, *(known[command] for command in sorted(known)), f"{END}{after}"])


if __name__ == "__main__":
    sys.exit(main())
