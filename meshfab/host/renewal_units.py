"""Renewal on the host: the units, what they run, and what they are told. What a tick does is in unit-files/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import NotReadyError
from meshfab.host import resources
from meshfab.host.target_file import File
from meshfab.ssh.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

UNITS = {
    "/etc/systemd/system/step@.service": ("step@.service", "0644"),
    "/etc/systemd/system/step@.timer": ("step@.timer", "0644"),
    "/usr/local/libexec/meshfab-tick": ("meshfab-tick", "0755"),
}


# What the unit may write without being told: step@.service has ReadWritePaths=-/etc/nginx, and ProtectSystem=full
# closes /usr and /etc but nothing else.
_OPEN_TO_THE_UNIT = ("/etc/nginx/", "/var/", "/srv/", "/opt/")
_DROP_IN = """# Written by meshfab: the certificate lies outside /etc/nginx.
[Service]
ReadWritePaths={folder}
"""


def wanted(service: Service, settings: Settings) -> list[File]:
    """The files that renew this service."""
    folder = resources.folder("unit-files")
    units = [File(path, mode, (folder / name).read_text(encoding="utf-8")) for path, (name, mode) in UNITS.items()]
    own = [File(service.env_file, "0644", _env(service, settings))]
    folder_of_certs = service.cert.rpartition("/")[0]
    if not f"{folder_of_certs}/".startswith(_OPEN_TO_THE_UNIT):
        own.append(File(service.drop_in, "0644", _DROP_IN.format(folder=folder_of_certs)))
    return [*units, *own]


def drift(state: HostState, wanted: Sequence[File]) -> dict[str, str]:
    """The files that are not as wanted, by path, each with a word on what is wrong."""
    found = {}
    for file in wanted:
        name, stat = file.path.rpartition("/")[2], state.stats.get(file.path)
        if file.path not in state.digests:
            found[file.path] = f"{name} is missing"
        elif state.digests[file.path] != file.digest:
            found[file.path] = f"{name} differs"
        elif stat and stat.mode != int(file.mode, 8):
            found[file.path] = f"{name} has the mode {stat.mode:04o}"
    return found


def unread(state: HostState, service: Service) -> list[str]:
    """The units whose files systemd has not read since they changed."""
    units = (service.timer, service.timer.replace(".timer", ".service"))
    return [f"systemd has not read {unit} yet" for unit in units if state.unit(unit).needs_reload]


def set_up(
    state: HostState, installs: Sequence[Service], files: Iterable[File], enables: Sequence[Service], *, beside: bool
) -> Request:
    """Put files in place, each once, and enable and start timers; a no-op for systemd where they are both.

    The manager reads its units anew only when it holds older ones.

    Args:
        installs: the services whose units are not as wanted.
        enables: the services whose timers are not.
        beside: let it run while other scripts do.
    """
    stale = any(unread(state, service) for service in installs)
    timers = [service.timer for service in enables]
    runs = any(state.unit(timer).active == "active" for timer in timers)
    words = [word for file in dict.fromkeys(files) for word in (file.path, file.mode, file.text)]
    args = ("reload" if stale else "", " ".join(timers), "reload" if runs else "", *words)
    return Request("install_units", args, beside=beside)


def not_set_up(answer: Answer, host: str) -> NotReadyError:
    """The error that a failed `setup` stands for."""
    what = f"the renewal could not be set up: {answer.err}"
    return NotReadyError(what, host=host, remedy="repair what the message names, then run this again")


def force(service: Service) -> Request:
    """Renew now, through the installed unit; the answer's stderr has the tick's own line when it fails."""
    return Request("renew", (service.name,))


def _env(service: Service, settings: Settings) -> str:
    values = {
        "DOMAIN": settings.domain,
        "CA_URL": settings.ca_url,
        "ROOT": settings.root,
        "CERT": service.cert,
        "KEY": service.key,
        "MTLS": "true" if settings.ca_mtls else "false",
    }
    lines = [f"MESHFAB_{key}={value}" for key, value in values.items()]
    return "\n".join([f"# Written by meshfab: what {service.timer} renews. Read by meshfab-tick.", *lines, ""])
