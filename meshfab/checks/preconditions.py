"""The preconditions of a host for a service. Pure: facts in, a finding for each precondition out.

`provision` requires the same preconditions before it changes anything (`require`); `doctor` shows all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshfab.checks import ca_checks, remedies
from meshfab.checks.finding import Finding
from meshfab.errors import HostKeyError, MeshfabError, NotReadyError
from meshfab.nginx import config_dump

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from meshfab.checks.finding import Status
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

# What step@.service needs; see the comment there.
_SYSTEMD = 235
# Programs that a minimal system may lack, and the package of each. Where Debian and the Fedora family differ: both.
_PACKAGES = {
    "openssl": "openssl",
    "setfacl": "acl",
    "getfacl": "acl",
    "flock": "util-linux",
    "systemd-run": "systemd",
}
# What the scripts and the tick run besides; doctor has one line for all of them.
_OTHER_PACKAGES = {
    "awk": "mawk or gawk",
    "cmp": "diffutils",
    "find": "findutils",
    "getent": "libc-bin or glibc-common",
    "grep": "grep",
    "hostname": "hostname",
    "ip": "iproute2 or iproute",
    "pgrep": "procps or procps-ng",
    "pkill": "procps or procps-ng",
    "ps": "procps or procps-ng",
    "sed": "sed",
    "sha256sum": "coreutils",
    "ss": "iproute2 or iproute",
    "timeout": "coreutils",
}
# doctor asks for nine.
_MOST_FOLDERS = 12
_FREE_SPACE = "free space in its file system"
_KIB_LEAST, _KIB_COMFORTABLE, _INODES_LEAST = 256, 10 * 1024, 50


def require(checks: Iterable[Finding], host: str) -> None:
    """Raise an error for the first precondition that is not met.

    Raises:
        NotReadyError: the precondition, with its remedy.
    """
    for check in checks:
        if check.status == "critical":
            raise NotReadyError(check.message, host=host, remedy=check.remedy)


def check_login(error: MeshfabError | None) -> list[Finding]:
    """The login: the host key, the user, and becoming root."""
    ways = [
        ("host-key", "the host's key is on record"),
        ("login", "the login works"),
        ("sudo", "the login becomes root"),
    ]
    if error is None:
        return [Finding(code, "ok", message) for code, message in ways]
    reached = 0 if isinstance(error, HostKeyError) else 2 if isinstance(error, NotReadyError) else 1
    good = [Finding(code, "ok", message) for code, message in ways[:reached]] if reached == 2 else []
    # A host that is down has an unknown status: it may lack nothing.
    status: Status = "unknown" if reached == 1 else "critical"
    return [*good, Finding(ways[reached][0], status, error.what, error.remedy)]


def check_tools(tools: Mapping[str, str]) -> list[Finding]:
    """The programs that minting, installing and renewing run."""
    step = tools.get("step") or tools.get("step-cli")
    findings = [
        Finding("step", "ok", step)
        if step
        else Finding("step", "critical", "step is not installed (nor step-cli)", "install Smallstep's step-cli package")
    ]
    for tool, package in _PACKAGES.items():
        if tool in tools:
            findings.append(Finding(tool, "ok", tools[tool]))
        else:
            findings.append(Finding(tool, "critical", f"{tool} is not installed", f"install the package {package}"))
    missing = [tool for tool in _OTHER_PACKAGES if tool not in tools]
    for tool in missing:
        remedy = f"install the package {_OTHER_PACKAGES[tool]}"
        findings.append(Finding("programs", "critical", f"{tool} is not installed", remedy))
    if not missing:
        findings.append(Finding("programs", "ok", f"{', '.join(_OTHER_PACKAGES)} are installed"))
    return findings


def check_notices(tools: Mapping[str, str], services: Iterable[Service]) -> Iterator[Finding]:
    """The program that sends notices and pings, where somebody is to be told at a URL."""
    urls = [url for service in services for url in (service.notify, service.ping_url) if url and "://" in url]
    if urls and "curl" in tools:
        yield Finding("curl", "ok", tools["curl"])
    elif urls:
        what = "curl is not installed, and notify or ping_url names a URL"
        yield Finding("curl", "warning", what, "install the package curl")


def check_writable(unwritable: Collection[str], paths: Iterable[str]) -> Iterator[Finding]:
    """Whether the files of a plan can be written, before the first of them is.

    Args:
        unwritable: the folders in which root cannot write.
        paths: the files.
    """
    for folder in dict.fromkeys(path.rpartition("/")[0] for path in paths):
        if folder in unwritable:
            what = f"{folder} cannot be written, and nothing was changed"
            yield Finding("disk", "critical", what, "mount its file system read-write")


def check_root(root: str | None, settings: Settings) -> list[Finding]:
    """The mesh's root certificate, against which everything else is checked."""
    if not root:
        what = f"the mesh's root certificate is not at {settings.root}"
        return [Finding("root", "critical", what, "put it there, or set meshfab.root")]
    if fault := ca_checks.root_fault(root, settings):
        return [Finding("root", "critical", fault, ca_checks.ROOT_REMEDY)]
    return [Finding("root", "ok", settings.root)]


def check_nginx_program(tools: Mapping[str, str]) -> list[Finding]:
    """Whether nginx is installed."""
    if "nginx" in tools:
        return [Finding("nginx", "ok", tools["nginx"])]
    remedy = "install nginx, or use --no-vhost with mint and renew-enable"
    return [Finding("nginx", "critical", "nginx is not installed", remedy)]


def check_nginx(state: HostState, users: Iterable[str]) -> Iterator[Finding]:
    """nginx: its version, whether it runs, whether it accepts its configuration, and the user of its workers."""
    program = check_nginx_program(state.tools)[0]
    if program.status != "ok":
        yield program
        return
    version = ".".join(str(part) for part in state.nginx_version) or "of an unknown version"
    yield Finding("nginx", "ok", f"{program.message}, {version}")
    output = config_dump.config_error(state)
    if output:
        what = f"nginx refuses its configuration: {config_dump.error_line(output)}"
        yield Finding("nginx-configuration", "critical", what, f"ssh {state.host} sudo nginx -t, and repair it")
    else:
        yield Finding("nginx-configuration", "ok", "nginx accepts its configuration")
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
        what = f"the user {state.nginx_user}, as whom nginx's workers read the key, does not exist"
        yield Finding("nginx-user", "critical", what, "set meshfab.nginx_user")


def check_systemd(version: str, *, runs: bool) -> Finding:
    """systemd: its timers renew, and its transient timer removes the password."""
    match = re.match(r"systemd (\d{1,6})", version)
    if not runs or not match:
        return Finding("systemd", "critical", "systemd does not run this host", "a host of the mesh needs it as PID 1")
    if int(match[1]) < _SYSTEMD:
        what = f"systemd {match[1]} is too old for the renewal units"
        return Finding("systemd", "critical", what, f"needs systemd {_SYSTEMD} or newer")
    return Finding("systemd", "ok", version)


def check_folders(rows: str) -> Iterator[Finding]:
    """Free space, free inodes and the right to write in our folders; a row as doctor.sh prints it."""
    for row in rows.splitlines()[:_MOST_FOLDERS]:
        fields = row.split("|")
        if len(fields) != 5 or not fields[2].isdecimal() or len(fields[2]) > 18:
            continue
        folder, existing, kib, inodes, may = fields
        room = int(kib)
        location = folder if folder == existing else f"{folder} (to be made in {existing})"
        if may != "yes":
            yield Finding("disk", "critical", f"{location} cannot be written", "mount its file system read-write")
        elif room < _KIB_LEAST or (inodes.isdecimal() and len(inodes) < 18 and int(inodes) < _INODES_LEAST):
            lack = f"{room} KiB and {inodes} inodes are free"
            yield Finding("disk", "critical", f"{location} is full: {lack}", _FREE_SPACE)
        elif room < _KIB_COMFORTABLE:
            yield Finding(
                "disk",
                "warning",
                f"{location} is almost full: {room // 1024} MiB are free",
                _FREE_SPACE,
            )
        else:
            yield Finding("disk", "ok", f"{location}: {room // 1024} MiB free")


def check_names(
    names: Mapping[str, frozenset[str]],
    operator_resolved: Mapping[str, tuple[str, ...]],
    host_addresses: Sequence[str],
    ca: str,
    reached: str,
) -> Iterator[Finding]:
    """What DNS answers for the CA (on the host) and for the services (on the host and here).

    Args:
        names: the addresses of each name on the host.
        operator_resolved: the addresses of each service's name here.
        host_addresses: those of the host.
        ca: the CA's name.
        reached: the address of the host that SSH reached; empty behind a jump host.
    """
    addresses = frozenset(host_addresses)
    remedy = "add it to the mesh's DNS, and look at the host's /etc/resolv.conf"
    ca_addresses = names.get(ca, frozenset())
    if ca_addresses:
        yield Finding("dns", "ok", f"{ca} is {', '.join(sorted(ca_addresses))}")
    else:
        yield Finding("dns", "critical", f"{ca} does not resolve on the host", remedy)
    for fqdn, addresses_here in operator_resolved.items():
        addresses_there = names.get(fqdn, frozenset())
        wrong = [
            f"{', '.join(sorted(resolved)) or 'nothing'} {location}"
            for resolved, location in ((frozenset(addresses_here), "here"), (addresses_there, "on the host"))
            if not resolved & addresses
        ]
        if wrong:
            what = f"{fqdn} resolves to {' and '.join(wrong)}, which is no address of the host"
            yield Finding("dns", "warning", what, remedies.for_dns(fqdn, reached, host_addresses))
        else:
            yield Finding("dns", "ok", f"{fqdn} leads to the host")
