"""Is a host ready for a service? Pure: what was read goes in, a line for each precondition comes out.

`provision` holds a host to the same rules before it changes anything (`require`), and `doctor` shows them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshfab.checks.finding import Finding
from meshfab.errors import HostKeyError, MeshfabError, NotReadyError, one_line
from meshfab.nginx import config_dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from meshfab.checks.finding import Status
    from meshfab.host.facts import HostState

# What step@.service needs; see the comment there.
_SYSTEMD = 235
# Debian and the Fedora family; where they differ, both.
_PACKAGES = {
    "openssl": "openssl",
    "setfacl": "acl",
    "getfacl": "acl",
    "flock": "util-linux",
    "systemd-run": "systemd",
}
_KIB_LEAST, _KIB_COMFORTABLE, _INODES_LEAST = 256, 10 * 1024, 50


def require(checks: Iterable[Finding], host: str) -> None:
    """Turn the first precondition that does not hold into an error.

    Raises:
        NotReadyError: with the remedy.
    """
    for check in checks:
        if check.status == "critical":
            raise NotReadyError(check.message, host=host, remedy=check.remedy)


def of_login(error: MeshfabError | None) -> list[Finding]:
    """How far the way in leads: the host's key, the login, and root."""
    ways = [
        ("host-key", "the host's key is on record"),
        ("login", "the login works"),
        ("sudo", "the login becomes root"),
    ]
    if error is None:
        return [Finding(code, "ok", words) for code, words in ways]
    reached = 0 if isinstance(error, HostKeyError) else 2 if isinstance(error, NotReadyError) else 1
    good = [Finding(code, "ok", words) for code, words in ways[:reached]] if reached == 2 else []
    # A host that is down is no host that lacks something: nobody knows.
    status: Status = "unknown" if reached == 1 else "critical"
    return [*good, Finding(ways[reached][0], status, error.what, error.remedy)]


def of_tools(tools: Mapping[str, str]) -> list[Finding]:
    """The programs that a mint, a move and a renewal run."""
    step = tools.get("step") or tools.get("step-cli")
    found = [
        Finding("step", "ok", step)
        if step
        else Finding("step", "critical", "step is not installed (nor step-cli)", "install Smallstep's step-cli package")
    ]
    for tool, package in _PACKAGES.items():
        if tool in tools:
            found.append(Finding(tool, "ok", tools[tool]))
        else:
            found.append(Finding(tool, "critical", f"{tool} is not installed", f"install the package {package}"))
    return found


def of_root(root: str | None, path: str) -> list[Finding]:
    """The mesh's root certificate, for which a host checks everything else."""
    if not root:
        what = f"the mesh's root certificate is not at {path}"
        return [Finding("root", "critical", what, "put it there, or set meshfab.root")]
    return [Finding("root", "ok", path)]


def of_nginx_program(tools: Mapping[str, str]) -> list[Finding]:
    """Whether there is an nginx at all."""
    if "nginx" in tools:
        return [Finding("nginx", "ok", tools["nginx"])]
    remedy = "install nginx, or use --no-vhost with mint and renew-enable"
    return [Finding("nginx", "critical", "nginx is not installed", remedy)]


def of_nginx(state: HostState, users: Iterable[str]) -> Iterator[Finding]:
    """nginx: its version, whether it runs, takes its configuration, and whose its workers are."""
    program = of_nginx_program(state.tools)[0]
    if program.status != "ok":
        yield program
        return
    version = ".".join(str(part) for part in state.nginx_version) or "of an unknown version"
    yield Finding("nginx", "ok", f"{program.message}, {version}")
    words = config_dump.broken(state)
    if words:
        what = f"nginx refuses its configuration: {one_line(config_dump.emergency(words))}"
        yield Finding("nginx-configuration", "critical", what, f"ssh {state.host} sudo nginx -t, and repair it")
    else:
        yield Finding("nginx-configuration", "ok", "nginx takes its configuration")
    active = state.unit("nginx.service").active
    if active == "active":
        yield Finding("nginx-running", "ok", "nginx runs")
    else:
        yield Finding(
            "nginx-running", "critical", f"nginx is {active}", f"ssh {state.host} sudo systemctl enable --now nginx"
        )
    if state.nginx_user in users:
        yield Finding("nginx-user", "ok", f"its workers run as {state.nginx_user}")
    else:
        what = f"there is no user {state.nginx_user}, as whom nginx's workers would read the key"
        yield Finding("nginx-user", "critical", what, "set meshfab.nginx_user")


def of_systemd(version: str, *, runs: bool) -> Finding:
    """systemd, whose timers renew and whose reaper removes the password."""
    match = re.match(r"systemd (\d{1,6})", version)
    if not runs or not match:
        return Finding("systemd", "critical", "systemd does not run this host", "a host of the mesh needs it as PID 1")
    if int(match[1]) < _SYSTEMD:
        what = f"systemd {match[1]} is too old for the renewal units"
        return Finding("systemd", "critical", what, f"needs systemd {_SYSTEMD} or newer")
    return Finding("systemd", "ok", one_line(version))


def of_folders(rows: str) -> Iterator[Finding]:
    """Room, inodes and the right to write where files of ours lie; a row as doctor.sh prints it."""
    for row in rows.splitlines():
        words = row.split("|")
        if len(words) != 5 or not words[2].isdecimal() or len(words[2]) > 18:
            continue
        folder, there, kib, inodes, may = words
        room = int(kib)
        where = folder if folder == there else f"{folder} (to be made in {there})"
        if may != "yes":
            yield Finding("disk", "critical", f"{where} cannot be written", f"mount {there} read-write")
        elif room < _KIB_LEAST or (inodes.isdecimal() and len(inodes) < 18 and int(inodes) < _INODES_LEAST):
            lack = f"{room} KiB and {inodes} inodes are free"
            yield Finding("disk", "critical", f"{where} is full: {lack}", f"free space in {there}")
        elif room < _KIB_COMFORTABLE:
            yield Finding(
                "disk", "warning", f"{where} is almost full: {room // 1024} MiB are free", f"free space in {there}"
            )
        else:
            yield Finding("disk", "ok", f"{where}: {room // 1024} MiB free")


def of_names(
    names: Mapping[str, frozenset[str]], here: Mapping[str, tuple[str, ...]], own: Iterable[str], ca: str
) -> Iterator[Finding]:
    """What DNS says of the CA (on the host) and of the services (there and here)."""
    addresses = frozenset(own)
    remedy = "add it to the mesh's DNS, and look at the host's /etc/resolv.conf"
    known = names.get(ca, frozenset())
    if known:
        yield Finding("dns", "ok", f"{ca} is {', '.join(sorted(known))}")
    else:
        yield Finding("dns", "critical", f"{ca} does not resolve on the host", remedy)
    for fqdn, found in here.items():
        there = names.get(fqdn, frozenset())
        wrong = [
            f"{', '.join(sorted(seen)) or 'nothing'} {where}"
            for seen, where in ((frozenset(found), "here"), (there, "on the host"))
            if not seen & addresses
        ]
        if wrong:
            what = f"{fqdn} resolves to {' and '.join(wrong)}, which is no address of the host"
            at = next(iter(own), "the host's address")
            yield Finding("dns", "warning", what, f"point {fqdn} at {at} in the mesh's DNS")
        else:
            yield Finding("dns", "ok", f"{fqdn} leads to the host")
