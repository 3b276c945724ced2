"""Why a root shell ended, in the words of sudo and of sudo-rs. Pure: output and an exit status in, an error out."""

from __future__ import annotations

from meshfab.errors import NotReadyError, SudoAsksError

_REMEDY = "give the login passwordless sudo, or log in as root"
# In lower case. The last column, and the last refusal, are of sudo-rs; its prefix is `sudo:` or `sudo-rs:`, by version.
_ASKS = (
    *("password is required", "interactive authentication is required"),
    *("a terminal is required", "authentication required but not attempted"),
)
_REFUSES = ("not in the sudoers", "not allowed to", "i'm afraid i can't do that")


def explain_end(output: str, status: int, host: str) -> NotReadyError | None:
    """The error for a shell that ended with this output on stderr; None if its connection was lost.

    Args:
        output: what the shell or sudo printed.
        status: its exit status; -1 if none arrived.
        host: the host, for the error.
    """
    words = output.lower()
    if any(phrase in words for phrase in _ASKS):
        return SudoAsksError("sudo asks for a password", host=host, remedy=_REMEDY)
    if any(phrase in words for phrase in _REFUSES):
        return NotReadyError(f"sudo refuses: {output}", host=host, remedy=_REMEDY)
    if "must have a tty" in words:
        what = "sudo works only on a terminal there (requiretty)"
        remedy = "add `Defaults:LOGIN !requiretty` for your login there to the host's sudoers, with visudo"
        return NotReadyError(what, host=host, remedy=remedy)
    if "printf as a builtin" in words:
        what = "its /bin/sh (mksh? yash?) has no printf of its own, so a password would be an argument of a program"
        return NotReadyError(what, host=host, remedy="make dash, bash or busybox the host's /bin/sh")
    return _by_status(output, status, host)


def _by_status(output: str, status: int, host: str) -> NotReadyError | None:
    if status == 127:
        what, remedy = f"the login cannot become root: {output}", "install sudo, or log in as root"
        return NotReadyError(what, host=host, remedy=remedy)
    if status > 0:
        what = f"the root shell ended with {status}: {output or 'no message'}"
        return NotReadyError(what, host=host, remedy=f"try `ssh {host} sudo -n id`")
    return None
