"""Every contender as command lines: the commands that a person types for one host and for many hosts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.inventory import BENCH_FOLDER
from bench.results import BASELINE
from bench.schedule import JOBS_OF_ONE_MORE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.inventory import Inventory, Site

# The number of hosts at once, for the scripts and for `ssh HOST true`.
_PARALLEL = 16


@dataclass(frozen=True)
class Command:
    """One process: its arguments, and what it needs in its environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One way to do the jobs.

    Attributes:
        key: its name in the results and in --only.
        title: its name in the tables.
        commands: returns job -> command for an inventory; a job that the contender cannot do is left out.
    """

    key: str
    title: str
    commands: Callable[[Inventory, Mapping[str, str]], dict[str, Command]]


def _meshfab(inventory: Inventory, tools: Mapping[str, str]) -> dict[str, Command]:
    # No mode of signing mints in a check, so only the default one has it.
    check = [*_inv(inventory), "check-certs"]
    jobs = _signed("host", inventory, tools)
    if not jobs or inventory.more:
        return jobs and {**jobs, "check": Command(check)}
    others = {
        "quick": Command([*check, "--quick"]),
        "outside": Command([*check, "--outside"]),
        "reissue": Command([*_inv(inventory), "reissue", "--all"]),
    }
    return {**jobs, "check": Command(check), **others}


def _signed(mode: str, inventory: Inventory, tools: Mapping[str, str]) -> dict[str, Command]:
    inv, options = _inv(inventory), ["--signing", mode]

    def provision(site: Site) -> Command:
        return Command([*inv, "provision", "--name", site.name, "--host", site.host, *options])

    if site := inventory.only_site:
        return {"first": provision(site), "second": provision(site)}
    if "apply" not in tools:
        return {}
    apply = Command([*inv, "apply", *options])
    jobs = {"first": apply, "second": apply}
    return jobs | ({job: provision(inventory.more) for job in JOBS_OF_ONE_MORE} if inventory.more else {})


def _inv(inventory: Inventory) -> list[str]:
    return [str(Path(sys.executable).with_name("inv")), "-f", str(inventory.invoke)]


def _ssh(inventory: Inventory, _tools: Mapping[str, str]) -> dict[str, Command]:
    if len(inventory.hosts) == 1:
        return {"true": Command(["ssh", inventory.hosts[0], "true"])}
    return {"true": Command(["xargs", f"-P{_PARALLEL}", "-I{}", "-a", str(inventory.host_list), "ssh", "{}", "true"])}


def _scripted(inventory: Inventory, script: str, env: dict[str, str] | None = None) -> dict[str, Command]:
    def command(name: str) -> Command:
        path = str(BENCH_FOLDER / "runbook" / name)
        if site := inventory.only_site:
            return Command([path, site.host, site.name], env or {})
        # On one host one after the other: all of them change nginx.
        parallel = 1 if len(inventory.hosts) == 1 else _PARALLEL
        return Command(["xargs", f"-P{parallel}", "-n2", "-a", str(inventory.site_list), path], env or {})

    return {"first": command(script), "second": command(script), "check": command("check.sh")}


def _script(inventory: Inventory, _tools: Mapping[str, str]) -> dict[str, Command]:
    return _scripted(inventory, "provision.sh")


def _multiplexed(inventory: Inventory, _tools: Mapping[str, str]) -> dict[str, Command]:
    # The check is one ssh: there is no connection to share.
    jobs = _scripted(inventory, "provision.sh", {"MULTIPLEX": "yes"})
    return {job: command for job, command in jobs.items() if job != "check"}


def tight(inventory: Inventory, _tools: Mapping[str, str] | None = None) -> dict[str, Command]:
    """The whole runbook in one ssh for each host. Its check would be the check of the script, so it has none."""
    return {job: command for job, command in _scripted(inventory, "tight.sh").items() if job != "check"}


def _ansible(inventory: Inventory, tools: Mapping[str, str]) -> dict[str, Command]:
    folder = BENCH_FOLDER / "ansible"
    forks = str(len(inventory.sites))
    argv = [tools["ansible"], "--inventory", str(inventory.ansible), "--forks", forks]
    env = {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(inventory.folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(inventory.control_sockets),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    provision = Command([*argv, str(folder / "provision.yml")], env)
    return {"first": provision, "second": provision, "check": Command([*argv, str(folder / "check.yml")], env)}


def _pyinfra(inventory: Inventory, tools: Mapping[str, str]) -> dict[str, Command]:
    folder = BENCH_FOLDER / "pyinfra"
    argv = [tools["pyinfra"], "-y", "--parallel", str(len(inventory.sites)), str(inventory.pyinfra)]
    provision = Command([*argv, str(folder / "deploy.py")])
    return {"first": provision, "second": provision, "check": Command([*argv, str(folder / "check.py")])}


SSH = Contender(BASELINE, "`ssh HOST true`", _ssh)
CONTENDERS = (
    Contender("meshfab", "meshfab", _meshfab),
    Contender("operator", "meshfab, signing: operator", partial(_signed, "operator")),
    Contender("tight", "the script in one ssh", tight),
    Contender("multiplexed", "the script, multiplexed", _multiplexed),
    Contender("script", "the script", _script),
    Contender("pyinfra", "pyinfra", _pyinfra),
    Contender("ansible", "Ansible", _ansible),
)
TITLES = {contender.key: contender.title for contender in (SSH, *CONTENDERS)}
