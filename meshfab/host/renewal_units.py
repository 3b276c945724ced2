"""The renewal units on the host, the program that they run, and its settings. unit-files/ has the tick itself."""

from __future__ import annotations

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


# Folders that the unit may write without a drop-in: step@.service has ReadWritePaths=-/etc/nginx, and
# ProtectSystem=full makes only /usr and /etc read-only.
_OPEN_TO_THE_UNIT = ("/etc/nginx/", "/var/", "/srv/", "/opt/")
_DROP_IN = """# Written by meshfab: the pair lies outside /etc/nginx.
[Service]
ReadWritePaths={folders}
"""


def wanted(service: Service, settings: Settings) -> list[File]:
    """The files that renew this service."""
    folder = resources.folder("unit-files")
    units = [File(path, mode, (folder / name).read_text(encoding="utf-8")) for path, (name, mode) in UNITS.items()]
    service_files = [File(service.env_file, "0644", _env(service, settings))]
    folders = dict.fromkeys(path.rpartition("/")[0] for path in (service.cert, service.key))
    closed = [folder for folder in folders if not f"{folder}/".startswith(_OPEN_TO_THE_UNIT)]
    if closed:
        service_files.append(File(service.drop_in, "0644", _DROP_IN.format(folders=" ".join(closed))))
    return [*units, *service_files]


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
    lines = [f"MESHFAB_{key}={value}" for key, value in values.items()]
    return "\n".join([f"# Written by meshfab: what {service.timer} renews. Read by meshfab-tick.", *lines, ""])
