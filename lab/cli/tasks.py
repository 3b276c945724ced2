"""The mesh in a box, as Invoke tasks: up, down, status, shell, point."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from collections.abc import Callable

    from invoke.context import Context

T = TypeVar("T")


def _plainly(do: Callable[[], T]) -> T:
    """Run the work of a task; what goes wrong is one line and exit status 1."""
    from lab.errors import LabError

    try:
        return do()
    except LabError as error:
        raise Exit(f"lab: {error}", code=1) from None
    except KeyboardInterrupt:
        raise Exit("lab: interrupted", code=130) from None


@task(
    help={
        "hosts": "how many hosts (default 3)",
        "keep": "leave what is there if it does not come up, to look at it",
        "owner-pid": "take the lab down when the process of this number has died",
    }
)
def up(_c: Context, hosts: int = 3, keep: bool = False, owner_pid: int = 0) -> None:
    """Bring a mesh up: hosts, CA and DNS, in a network namespace of their own."""
    from lab.cli import up

    _plainly(lambda: up.up(hosts, keep=keep, owner=owner_pid or None))


@task
def down(_c: Context) -> None:
    """Take the mesh down, and whatever is left of one."""
    from lab.cli import teardown

    _plainly(teardown.down)


@task
def status(_c: Context) -> None:
    """Say what is up, and who has which name and address."""
    from lab.cli import overview

    _plainly(overview.show)


@task(help={"host": "the host, such as h2"})
def shell(_c: Context, host: str) -> None:
    """Open a root shell on a host, past SSH."""
    import os

    from lab.services import hosts

    argv = _plainly(lambda: hosts.enter(host, ["bash", "-i"]))
    os.execvp(argv[0], argv)  # noqa: S606 - the shell takes this process's place


@task(help={"name": "the service's short name", "host": "the host, such as h2"})
def point(_c: Context, name: str, host: str) -> None:
    """Make NAME.internal resolve to a host."""
    from lab.services import dns

    _plainly(lambda: dns.point(name, host))


ns = Collection("lab", up, down, status, shell, point)
