"""Every file that a service can have on a host, wherever meshfab, its tick or systemd write one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.host import tick_state
from meshfab.host.history import FOLDER
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.ssh.script import Answer

_RUN = "/run/meshfab"
# The defaults of Debian's and of Fedora's package of node_exporter, as in meshfab-tick.
_TEXTFILE_DIRS = ("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter/textfile_collector")
_MAX_FILES = 1000


def history(service: Service) -> str:
    """The path of the history."""
    return f"{FOLDER}/{service.name}.history"


def past(service: Service) -> str:
    """The folder of the certificates that a renewal replaced."""
    return f"{FOLDER}/{service.name}.past"


def lock(service: Service) -> str:
    """The path of the lock."""
    return f"{_RUN}/{service.name}.lock"


def metrics(service: Service, settings: Settings) -> tuple[str, ...]:
    """Where the metrics of a service can be: in the folder that is set, and in those that a tick takes by itself."""
    folder = settings.textfile_dir
    folders = dict.fromkeys([folder, *_TEXTFILE_DIRS] if folder not in (None, "off") else _TEXTFILE_DIRS)
    return tuple(f"{folder}/meshfab_{service.name}.prom" for folder in folders)


def others(service: Service, settings: Settings) -> tuple[str, ...]:
    """The files beside the pair and those of nginx, in the order in which they may be removed.

    The history is the last but one: it has the certificates that are not revoked yet. Then the lock, which whoever
    removes the others holds.
    """
    name = service.name
    return (
        service.secret,
        f"/etc/systemd/system/timers.target.wants/{service.timer}",
        *(f"{_RUN}/{name}.{what}" for what in ("failed", "force", "rekey", "reload-pending", "reaper", "stage")),
        tick_state.file(service),
        *metrics(service, settings),
        # systemd's, of a timer with Persistent=.
        f"/var/lib/systemd/timers/stamp-{service.timer}",
        service.env_file,
        service.drop_in,
        f"{FOLDER}/{name}.last",
        f"{FOLDER}/{name}.notified",
        past(service),
        history(service),
        lock(service),
    )


def request(paths: Sequence[str]) -> Request:
    """The request that lists which of these files there are, with what lies beside them."""
    return Request("list_files", tuple(paths))


def parse(answer: Answer, paths: Sequence[str]) -> tuple[str, ...]:
    """The files that there are, in the order of `paths`; what lies beside one or in it comes before it.

    The host may answer anything: only files that belong to one of these paths count.
    """
    found = dict.fromkeys(answer.out.decode("utf-8", "replace").split("\n", _MAX_FILES)[:_MAX_FILES])
    ordered = [each for path in paths for each in (*(row for row in found if _belongs(row, path)), path)]
    return tuple(each for each in dict.fromkeys(ordered) if each in found)


def _belongs(file: str, path: str) -> bool:
    """Whether a file is one that an interrupted run left beside the path, or one in this folder."""
    folder, _, name = path.rpartition("/")
    tail = file.removeprefix(f"{folder}/.{name}.") if file.startswith(f"{folder}/.{name}.") else ""
    inside = file.removeprefix(f"{path}/") if file.startswith(f"{path}/") else ""
    return bool(tail or inside) and "/" not in tail + inside and (tail + inside).isprintable()
