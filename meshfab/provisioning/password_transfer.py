"""The provisioner's password on a host: there only while it mints, and removed after every end of a run.

Three guards remove it, each for the case in which the one before cannot: `finally` here, over a new connection if the
old one was lost; the trap of the root shell, which runs when the channel to the operator's machine ends; and a
transient timer in the host's systemd, the reaper, which is armed before the file is written.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meshfab.config.password_source import obtain
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import (
    ConnectError,
    MeshfabError,
    MintError,
    NotReadyError,
    SecretLeftError,
)
from meshfab.provisioning import service_lock
from meshfab.ssh.deadline import limit
from meshfab.ssh.interruptions import signals_ignored
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Answer, ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

    from meshfab.config.password import Password

__all__ = ["provisioner_password"]

REAPER_SECONDS = 120
# All that the removal may take, with new connections; and the steps of one attempt: connecting, and the scripts.
CLEANUP_SECONDS, _ATTEMPT_SECONDS = 20.0, 8.0


@contextmanager
def provisioner_password(c: Connection, name: str, *, settings: Settings | None = None) -> Iterator[str]:
    """Put the provisioner's password on a host for the length of a `with` block, which gets its path there.

    For a fabfile that runs `step` itself. Only root can read the file (0600). It is removed when the block ends,
    however it ends, and after 120 seconds at the latest, even if this machine dies. During the block, for 240 seconds
    at most, the service is locked: other runs and the renewal tick wait, and so would a task for it in the block.

    Args:
        c: a Fabric connection; made strict before anything is sent.
        name: the service's short name, one DNS label; the path is /tmp/<name>-provisioner.
        settings: the mesh's conventions; None reads them from `c.config`.

    Yields:
        The path on the host, for `step … --provisioner-password-file`.

    Raises:
        SecretLeftError: its removal could not be verified; the message has the command to run.
        InputError: an argument or a setting cannot be used, or there is no password here.
        ConnectError: the host cannot be reached, or (HostKeyError) its key is not on record; nothing was sent.
        LockedError: another run works on the service.
        NotReadyError: the login cannot become root, sudo there would record the password, or systemd there cannot arm
            its removal.
        MintError: the file could not be put there.
    """
    settings = settings or Settings.load(c.config)
    service, password = Service.of(name, settings), obtain(settings)
    with RootShell(c) as shell:
        _, answer = service_lock.take(shell, [service], check())
        require_safe(shell, answer)
        with password_on_host(shell, service, password) as path:
            yield path


def check() -> Request:
    """The request for `require_safe`. The password needs a later round trip: it arrives before any script runs."""
    return Request("check_transfer")


def require_safe(shell: RootShell, answer: Answer) -> None:
    """Require that the password can be sent: nothing there records it, and it can be removed.

    Raises:
        NotReadyError: with what is in the way.
    """
    if answer.status == ExitStatus.INPUT_RECORDED:
        raise NotReadyError(
            "sudo there records the input of its commands (log_input, log_stdin or an I/O plugin), and so the password",
            host=shell.host,
            remedy=f"put NOLOG_INPUT: into the login's rule in sudoers, as in"
            f" `{shell.c.user} ALL=(ALL) NOPASSWD: NOLOG_INPUT: ALL`, or log in as root",
        )
    if answer.status == ExitStatus.OTHER_TMP:
        raise NotReadyError(
            "the login has another /tmp than systemd (pam_namespace or a chroot), which could not remove the password",
            host=shell.host,
            remedy=f"exempt {shell.c.user} in /etc/security/namespace.conf, or log in to the host itself",
        )
    if not answer.ok:
        raise NotReadyError(
            f"it cannot be found out whether the password is safe there: {answer.err}",
            host=shell.host,
            remedy="is /proc mounted?",
        )


@contextmanager
def password_on_host(shell: RootShell, service: Service, password: Password) -> Iterator[str]:
    """The same, over an existing root shell."""
    script_args = _script_args(service)
    try:
        answer = shell.run("put_password", *script_args, data=password.reveal())
        if not answer.ok:
            raise _refused(answer.status, answer.err, shell.host, service.secret)
        yield service.secret
    finally:
        with signals_ignored():
            _remove(shell, script_args)


def mint_with_password(shell: RootShell, service: Service, password: Password, user_request: Request) -> Answer:
    """Run a script while the password is on the host: put, use and remove it in one round trip."""
    script_args = _script_args(service)
    is_gone = False
    try:
        put_request = Request("put_password", script_args, password.reveal())
        put, *rest = shell.batch([put_request, user_request, Request("remove_password", script_args)])
        is_gone = len(rest) == 2 and rest[1].ok
        if not put.ok:
            raise _refused(put.status, put.err, shell.host, service.secret)
        return rest[0]
    finally:
        if not is_gone:
            with signals_ignored():
                _remove(shell, script_args)


def sweep(service: Service) -> Request:
    """The request that removes a password file of an earlier run, and disarms its reaper."""
    return Request("remove_password", (service.secret, _folder("none"), "", "", _armed_reaper(service)))


def _refused(status: int, output: str, host: str, path: str) -> MeshfabError:
    if status == ExitStatus.NO_REAPER and "unrecognized option" in output:
        what = f"systemd is too old: systemd-run has no {output.rpartition(' ')[2]}, which removes the password"
        return NotReadyError(what, host=host, remedy="needs systemd 236 or newer")
    if status == ExitStatus.NO_REAPER:
        return NotReadyError(
            f"systemd-run cannot arm the reaper that removes the password ({output})",
            host=host,
            remedy="is systemd running there?",
        )
    if status == ExitStatus.IS_FOLDER:
        return MintError(
            f"{path} is a folder, and meshfab does not remove it", host=host, remedy=f"look at it, then `rm -r {path}`"
        )
    return MintError(
        f"the password could not be put on the host: {output}", host=host, remedy="is /tmp full or read-only?"
    )


def _remove(shell: RootShell, script_args: tuple[str, ...]) -> None:
    """Remove and verify: over this shell, beside it while a command runs in it, else over a new connection."""
    output, deadline = "no answer in time", time.monotonic() + CLEANUP_SECONDS
    for attempt in range(3):
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            break
        try:
            # Connecting is included; nothing that the host sends, or does not, can prolong it.
            with limit(shell.c, seconds):
                answer = _remove_once(shell, script_args, attempt, seconds)
        except (ConnectError, NotReadyError, OSError, EOFError) as error:
            output = str(error)
            continue
        if answer.ok:
            return
        output = answer.err
    raise SecretLeftError(
        f"THE PASSWORD MAY STILL LIE at {script_args[0]} ({output});"
        f" the host itself removes it within {REAPER_SECONDS} s if it runs",
        host=shell.host,
        remedy=f"ssh {shell.host} sudo rm -f {script_args[0]}",
    )


def _remove_once(shell: RootShell, script_args: tuple[str, ...], attempt: int, seconds: float) -> Answer:
    remove = Request("remove_password", script_args)
    if attempt == 0 and shell.is_idle:
        return shell.batch([remove], timeout=min(seconds, _ATTEMPT_SECONDS))[0]
    if attempt:
        shell.c.close()
    with RootShell(shell.c, timeout=min(seconds, _ATTEMPT_SECONDS)) as new_shell:
        # A script that still runs holds the lock and may read the file: it is stopped first.
        return new_shell.batch([Request("stop", (shell.pid,)), remove])[-1]


def _script_args(service: Service) -> tuple[str, ...]:
    """Arguments for put_password.sh and remove_password.sh."""
    nonce = secrets.token_hex(8)
    # The reaper has its own name in every run, so that only its own run can stop it.
    reaper = f"meshfab-reap-{service.name}-{nonce}"
    return service.secret, _folder(nonce), reaper, str(REAPER_SECONDS), _armed_reaper(service)


def _folder(nonce: str) -> str:
    """Where the file is made before it gets its name: a folder of root with a random name."""
    return f"/tmp/.meshfab-{nonce}"  # noqa: S108


def _armed_reaper(service: Service) -> str:
    """The file that names the armed reaper; one of an earlier run then leaves the new password alone."""
    return f"/run/meshfab/{service.name}.reaper"
