"""One host judged: everything that is wrong with its certificates, or why it could not be asked."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from meshfab.checks import endpoint_probe, evaluate
from meshfab.checks.report import HostReport
from meshfab.config import inventory
from meshfab.errors import MeshfabError, one_line
from meshfab.host import discovery
from meshfab.ssh.session import HOST_SECONDS, shell_within

if TYPE_CHECKING:
    from meshfab.config.settings import Settings
    from meshfab.ssh.jump_hosts import JumpHostPool


def check_host(
    host: str,
    settings: Settings,
    config: Any = None,
    *,
    seconds: float = HOST_SECONDS,
    jumps: JumpHostPool | None = None,
) -> HostReport:
    """One host, within its own deadline; whatever is wrong with it is in the report."""
    began = time.monotonic()
    try:
        certificates = _certificates(host, settings, config, seconds, jumps)
    except MeshfabError as error:
        return HostReport(host, error=_words(error), seconds=time.monotonic() - began)
    except Exception as error:  # a host may answer anything; one that confuses us hides no other
        what = f"its answer cannot be judged: {type(error).__name__}: {one_line(str(error))[:200]}"
        return HostReport(host, error=what, seconds=time.monotonic() - began)
    return HostReport(host, certificates, seconds=time.monotonic() - began)


def _certificates(host: str, settings: Settings, config: Any, seconds: float, jumps: JumpHostPool | None) -> Any:
    declared = inventory.services(host, settings)
    with shell_within(host, settings, config, seconds, jumps) as shell:
        before = datetime.now(timezone.utc)
        answer = shell.batch([discovery.request(settings, declared)])[0]
        after = datetime.now(timezone.utc)
        seen = discovery.parse(answer, shell.host, settings, declared)
        sights = endpoint_probe.look(shell, seen, settings)
    return evaluate.host(seen, sights, settings, (before, after))


def _words(error: MeshfabError) -> str:
    """Without the host's name, which stands beside it."""
    return f"{error.what} -> {error.remedy}" if error.remedy else error.what
