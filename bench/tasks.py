"""The benchmark as Invoke tasks: run it, render its results, and profile provision and check-certs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from collections.abc import Callable

    from invoke.context import Context


@task(
    default=True,
    help={
        "hosts": "number of hosts in the scenario with many hosts (1: measure one host only)",
        "runs": "number of rounds with many hosts; twice as many with one host, fewer for slow contenders",
        "only": "contenders, separated by commas: meshfab, operator, tight, multiplexed, script, pyinfra, ansible",
        "series": "lan, 40ms, services (one host with 1, 10 and 100), separated by commas",
        "output": "results file (default: bench/results/benchmark.json and the docs, if everything is measured)",
        "merge": "put what is measured among the saved results and into the docs, and keep the rest of them",
    },
)
def run(
    _c: Context,
    hosts: int = 40,
    runs: int = 3,
    only: str = "",
    series: str = "lan,40ms,services",
    output: str = "",
    merge: bool = False,
) -> None:
    """Compare meshfab with shell scripts, Ansible, pyinfra and `ssh HOST true`, in a separate lab."""
    from bench import command

    _exit_on_error(lambda: command.run(hosts, runs, only, series, output, merge=merge))


@task(help={"results": "results file (default: bench/results/benchmark.json)"})
def render(_c: Context, results: str = "") -> None:
    """Write the tables and the plot of docs/performance.md again, from saved results."""
    from bench import command

    _exit_on_error(lambda: command.render(results))


@task(help={"hosts": "number of hosts for check-certs", "runs": "number of runs of each command"})
def profile(_c: Context, hosts: int = 40, runs: int = 5) -> None:
    """Show where the time of provision and check-certs goes, in a separate lab."""
    from bench import command

    _exit_on_error(lambda: command.profile(hosts, runs))


def _exit_on_error(work: Callable[[], None]) -> None:
    """Run the work of a task; an error is printed as one line, with exit status 1."""
    from lab.errors import LabError

    try:
        work()
    except LabError as error:
        raise Exit(f"bench: {error}", code=1) from None
    except KeyboardInterrupt:
        raise Exit("bench: interrupted", code=130) from None


ns = Collection("bench", run, render, profile)
