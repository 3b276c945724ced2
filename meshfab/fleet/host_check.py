"""Check one host with the look that was asked for; every error is in the report. Plain values in, plain values out.

Each look imports what it needs when it is called: a quick look does not wait for what judges a whole host.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from meshfab.checks.report import HostReport
from meshfab.errors import MeshfabError, fault_line
from meshfab.ssh import connection
from meshfab.ssh.session import HOST_SECONDS, KeptShells, shell_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshfab.checks.report import CertificateReport, Look
    from meshfab.config.settings import Settings
    from meshfab.ssh.jump_hosts import JumpHostPool
    from meshfab.ssh.root_shell import RootShell


def import_clients(look: Look) -> None:
    """Import what the threads of the hosts import before a host has answered; call it before they start.

    Two threads that import parts of one package at once can get half of a module: CPython resolves a deadlock of its
    import locks that way. So these threads import nothing while `import_look` does.
    """
    if look == "outside":
        import_look(look)
    else:
        connection.import_clients()


def import_look(look: Look) -> None:
    """Import what a look needs of a host's answer; call it while the hosts have not answered yet."""
    import cryptography.x509  # noqa: F401

    if look == "outside":
        from meshfab.fleet import outside_look  # noqa: F401
    else:
        _look_with_shell(look)


def check_host(
    host: str,
    settings: Settings,
    config: Any = None,
    *,
    seconds: float = HOST_SECONDS,
    jumps: JumpHostPool | None = None,
    look: Look = "full",
    shells: KeptShells | None = None,
) -> HostReport:
    """Check one host within its own deadline; every error is in the report.

    Args:
        host: the host to check.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration, or None.
        seconds: the deadline.
        jumps: the connections to jump hosts that hosts share.
        look: how closely to look.
        shells: the shells that stay open between rounds; None opens one for this check alone.
    """
    began = time.monotonic()
    try:
        certificates = _certificates(host, settings, config, seconds, jumps, look, shells)
    except MeshfabError as error:
        return HostReport(host, error=error.what, remedy=error.remedy, seconds=time.monotonic() - began)
    except Exception as error:  # a host may answer anything; its answer must not hide the other hosts
        what = f"its answer cannot be judged: {type(error).__name__}: {fault_line(str(error))[:200]}"
        return HostReport(host, error=what, seconds=time.monotonic() - began)
    return HostReport(host, certificates, seconds=time.monotonic() - began)


def _certificates(
    host: str,
    settings: Settings,
    config: Any,
    seconds: float,
    jumps: JumpHostPool | None,
    look: Look,
    shells: KeptShells | None,
) -> tuple[CertificateReport, ...]:
    if look == "outside":
        from meshfab.fleet import outside_look

        return outside_look.look(host, settings, seconds)

    def use(shell: RootShell) -> tuple[CertificateReport, ...]:
        return _look_with_shell(look)(host, settings, shell, seconds)

    as_root = look == "full"
    if shells:
        return shells.call(host, settings, config, seconds, jumps, use, as_root=as_root)
    with shell_within(host, settings, config, seconds, jumps, as_root=as_root) as shell:
        return use(shell)


def _look_with_shell(look: Look) -> Callable[[str, Settings, RootShell, float], tuple[CertificateReport, ...]]:
    if look == "quick":
        from meshfab.fleet import quick_look

        return quick_look.look
    from meshfab.fleet import full_look

    return full_look.look
