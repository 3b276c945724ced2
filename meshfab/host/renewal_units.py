"""The renewal units on the host, the program that they run, and its settings. unit-files/ has the tick itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshfab.host import resources
from meshfab.host.target_file import File

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

UNITS = {
    "/etc/systemd/system/step@.service": ("step@.service", "0644"),
    "/etc/systemd/system/step@.timer": ("step@.timer", "0644"),
    "/usr/local/libexec/meshfab-tick": ("meshfab-tick", "0755"),
    "/usr/local/libexec/meshfab-history": ("meshfab-history", "0755"),
}
# What tells of ticks, where somebody is to be told.
NOTICE_UNITS = {
    "/etc/systemd/system/meshfab-notify@.service": ("meshfab-notify@.service", "0644"),
    "/etc/systemd/system/meshfab-ping@.service": ("meshfab-ping@.service", "0644"),
    "/usr/local/libexec/meshfab-notify": ("meshfab-notify", "0755"),
}
SHARED = (*UNITS, *NOTICE_UNITS)
# Folders that the unit may write without a drop-in: step@.service has ReadWritePaths=-/etc/nginx, and
# ProtectSystem=full makes only /usr and /etc read-only.
_OPEN_TO_THE_UNIT = ("/etc/nginx/", "/var/", "/srv/", "/opt/")
_HEADER = "# Written by meshfab: what differs from other services."
_SECRETS = re.compile(r"^(MESHFAB_(?:NOTIFY|PING_URL)=https?://[^/]*/).+$", re.MULTILINE)


def wanted(service: Service, settings: Settings, state: HostState | None = None) -> list[File]:
    """The files that renew this service on this host, which may have a drop-in of ours already."""
    folder = resources.folder("unit-files")
    is_told = bool(service.notify or service.ping_url)
    shared = {**UNITS, **(NOTICE_UNITS if is_told else {})}
    units = [File(path, mode, (folder / name).read_text(encoding="utf-8")) for path, (name, mode) in shared.items()]
    # Whoever knows the URL of a receiver can use it.
    service_files = [File(service.env_file, "0600" if is_told else "0644", _env(service, settings))]
    lines = _drop_in(service, settings)
    # One that is not needed any more is emptied.
    if lines or (state and service.drop_in in state.digests):
        service_files.append(File(service.drop_in, "0644", "\n".join([_HEADER, *lines, ""])))
    return [*units, *service_files]


def masked(text: str) -> str:
    """A file without the secret part of its URLs, for people.

    >>> masked("MESHFAB_PING_URL=https://hc.internal/ping/1234")
    'MESHFAB_PING_URL=https://hc.internal/…'
    """
    return _SECRETS.sub(r"\1…", text)


def _drop_in(service: Service, settings: Settings) -> list[str]:
    lines = []
    if service.ping_url:
        lines.append(f"Wants=meshfab-ping@{service.name}.service")
    if service.notify or service.ping_url:
        lines += [f"{key}=meshfab-notify@{service.name}.service" for key in ("OnSuccess", "OnFailure")]
    if lines:
        lines.insert(0, "[Unit]")
    folders = dict.fromkeys(path.rpartition("/")[0] for path in (service.cert, service.key))
    if settings.textfile_dir not in (None, "off"):
        folders[settings.textfile_dir] = None
    closed = [folder for folder in folders if not f"{folder}/".startswith(_OPEN_TO_THE_UNIT)]
    return [*lines, "[Service]", f"ReadWritePaths={' '.join(closed)}"] if closed else lines


def drift(state: HostState, wanted: Sequence[File]) -> dict[str, str]:
    """The files that are not as wanted, by path, each with its fault."""
    faults = {}
    for file in wanted:
        name, stat = file.path.rpartition("/")[2], state.stats.get(file.path)
        if file.path not in state.digests:
            faults[file.path] = f"{name} is missing"
        elif state.digests[file.path] != file.digest:
            faults[file.path] = f"{name} differs"
        elif stat and stat.mode != int(file.mode, 8):
            faults[file.path] = f"{name} has the mode {stat.mode:04o}"
    return faults


def unread(state: HostState, service: Service) -> list[str]:
    """The units whose files systemd has not read since they changed."""
    units = (service.timer, service.timer.replace(".timer", ".service"))
    return [f"systemd has not read {unit} yet" for unit in units if state.unit(unit).needs_reload]


def _env(service: Service, settings: Settings) -> str:
    values = {
        "DOMAIN": settings.domain,
        "CA_URL": settings.ca_url,
        "ROOT": settings.root,
        "CERT": service.cert,
        "KEY": service.key,
        "MTLS": "true" if settings.ca_mtls else "false",
    }
    if service.rekey_seconds:
        values["REKEY_AFTER"] = str(service.rekey_seconds)
    if service.notify:
        values["NOTIFY"] = service.notify
    if service.ping_url:
        values["PING_URL"] = service.ping_url
    if settings.textfile_dir:
        values["TEXTFILE_DIR"] = settings.textfile_dir
    lines = [f"MESHFAB_{key}={value}" for key, value in values.items()]
    return "\n".join([f"# Written by meshfab: what {service.timer} renews. Read by meshfab-tick.", *lines, ""])
