"""The lab's Invoke tasks: up, down, status, shell, point."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from collections.abc import Callable

    from invoke.context import Context

T = TypeVar("T")


def _exit_on_error(action: Callable[[], T]) -> T:
    """Run an action; turn an error of the lab into one line and exit status 1."""
    from lab.errors import LabError

    try:
        return action()
    except LabError as error:
        raise Exit(f"lab: {error}", code=1) from None
    except KeyboardInterrupt:
        raise Exit("lab: interrupted", code=130) from None


@task(
    iterable=["release"],
    help={
        "hosts": "number of hosts (default 3)",
        "release": "Debian release of all hosts, or of one (h2=sid); with variants: trixie+sudo-rs (may be repeated)",
        "keep": "if the lab does not come up, leave its parts in place for inspection",
        "owner-pid": "take the lab down when the process with this ID has ended",
    },
)
def up(_c: Context, release: list[str], hosts: int = 3, keep: bool = False, owner_pid: int = 0) -> None:
    """Bring a lab up: hosts, CA and DNS in a network namespace of their own."""
    from lab.cli.up import bring_up

    _exit_on_error(lambda: bring_up(hosts, releases=release, keep=keep, owner=owner_pid or None))


@task
def down(_c: Context) -> None:
    """Take the lab down, also one that is incomplete."""
    from lab.cli import teardown

    _exit_on_error(teardown.take_down)


@task
def status(_c: Context) -> None:
    """Show the state and the address of the CA, the hosts and the service names."""
    from lab.cli import overview

    _exit_on_error(overview.show)


@task(help={"host": "name of the host, such as h2"})
def shell(_c: Context, host: str) -> None:
    """Open a root shell on a host, without SSH."""
    import os

    from lab.services import hosts

    argv = _exit_on_error(lambda: hosts.enter(host, ["bash", "-i"]))
    os.execvp(argv[0], argv)  # noqa: S606 - the shell replaces this process


@task(help={"name": "short name of the service", "host": "name of the host, such as h2"})
def point(_c: Context, name: str, host: str) -> None:
    """Make NAME.internal resolve to a host."""
    from lab.services import dns

    _exit_on_error(lambda: dns.point(name, host))


ns = Collection("lab", up, down, status, shell, point)
