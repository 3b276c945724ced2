"""The benchmark as Invoke tasks: run it, render what was found, profile one run and one sweep."""

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
        "hosts": "how many hosts the larger comparison has (1: only the one with one host)",
        "runs": "rounds with many hosts; twice as many with one, fewer for those that take minutes",
        "only": "contenders, with commas between: meshfab, tight, multiplexed, script, pyinfra, ansible",
        "series": "lan, 40ms, or both with a comma between",
        "output": "the results' file (left out: bench/results/benchmark.json and the docs, for all contenders alone)",
    },
)
def run(
    _c: Context, hosts: int = 40, runs: int = 3, only: str = "", series: str = "lan,40ms", output: str = ""
) -> None:
    """Compare meshfab with the runbook's script, Ansible, pyinfra and a bare ssh, in a lab of its own."""
    from bench import command

    _plainly(lambda: command.run(hosts, runs, only, series, output))


@task(help={"results": "a results' file instead of bench/results/benchmark.json"})
def render(_c: Context, results: str = "") -> None:
    """Write the tables and the plot of docs/performance.md anew, from what was measured before."""
    from bench import command

    _plainly(lambda: command.render(results))


@task(help={"hosts": "how many the sweep asks", "runs": "how often each is measured"})
def profile(_c: Context, hosts: int = 40, runs: int = 5) -> None:
    """Show where the time of one provisioning and of a sweep goes, in a lab of its own."""
    from bench import command

    _plainly(lambda: command.profile(hosts, runs))


def _plainly(do: Callable[[], None]) -> None:
    """Run the work of a task; what goes wrong is one line and exit status 1."""
    from lab.errors import LabError

    try:
        do()
    except LabError as error:
        raise Exit(f"bench: {error}", code=1) from None
    except KeyboardInterrupt:
        raise Exit("bench: interrupted", code=130) from None


ns = Collection("bench", run, render, profile)
