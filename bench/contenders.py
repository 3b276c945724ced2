"""Every contender as command lines: what a person types for one host, and for many."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.inventory import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.inventory import Place

# Of the script, and of bare ssh: as many as sshd's MaxStartups and a laptop bear without thought.
_AT_ONCE = 16


@dataclass(frozen=True)
class Command:
    """One whole process: its words, and what it needs in its environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """A way to do the jobs.

    Attributes:
        key: its name in the results and after --only.
        title: what the table calls it.
        commands: job -> command, for a place; a job that it cannot do is left out.
    """

    key: str
    title: str
    commands: Callable[[Place, Mapping[str, str]], dict[str, Command]]


def _meshfab(place: Place, tools: Mapping[str, str]) -> dict[str, Command]:
    inv = [str(Path(sys.executable).with_name("inv")), "-f", str(place.settings)]
    check = Command([*inv, "check-certs"])
    if len(place.sites) == 1:
        site = place.sites[0]
        provision = Command([*inv, "provision", "--name", site.name, "--host", site.host])
    elif "apply" in tools:
        provision = Command([*inv, "apply"])
    else:
        return {}
    return {"first": provision, "second": provision, "check": check}


def _ssh(place: Place, _tools: Mapping[str, str]) -> dict[str, Command]:
    if len(place.sites) == 1:
        return {"true": Command(["ssh", place.sites[0].host, "true"])}
    return {"true": Command(["xargs", f"-P{_AT_ONCE}", "-I{}", "-a", str(place.hosts), "ssh", "{}", "true"])}


def _scripted(place: Place, script: str, env: dict[str, str] | None = None) -> dict[str, Command]:
    def over(name: str) -> Command:
        path = str(HERE / "runbook" / name)
        if len(place.sites) == 1:
            return Command([path, place.sites[0].host, place.sites[0].name], env or {})
        return Command(["xargs", f"-P{_AT_ONCE}", "-n2", "-a", str(place.pairs), path], env or {})

    return {"first": over(script), "second": over(script), "check": over("check.sh")}


def _script(place: Place, _tools: Mapping[str, str]) -> dict[str, Command]:
    return _scripted(place, "provision.sh")


def _multiplexed(place: Place, _tools: Mapping[str, str]) -> dict[str, Command]:
    # Its check is one ssh, of which there is nothing to share.
    jobs = _scripted(place, "provision.sh", {"MULTIPLEX": "yes"})
    return {job: command for job, command in jobs.items() if job != "check"}


def tight(place: Place, _tools: Mapping[str, str] | None = None) -> dict[str, Command]:
    """All of the runbook by one ssh a host; to check there is nothing tighter than the script's own."""
    return {job: command for job, command in _scripted(place, "tight.sh").items() if job != "check"}


def _ansible(place: Place, tools: Mapping[str, str]) -> dict[str, Command]:
    folder = HERE / "ansible"
    forks = str(len(place.sites))
    argv = [tools["ansible"], "--inventory", str(place.ansible), "--forks", forks]
    env = {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(place.folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.sockets),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    provision = Command([*argv, str(folder / "provision.yml")], env)
    return {"first": provision, "second": provision, "check": Command([*argv, str(folder / "check.yml")], env)}


def _pyinfra(place: Place, tools: Mapping[str, str]) -> dict[str, Command]:
    folder = HERE / "pyinfra"
    argv = [tools["pyinfra"], "-y", "--parallel", str(len(place.sites)), str(place.pyinfra)]
    provision = Command([*argv, str(folder / "deploy.py")])
    return {"first": provision, "second": provision, "check": Command([*argv, str(folder / "check.py")])}


FLOOR = Contender("ssh", "`ssh HOST true`", _ssh)
CONTENDERS = (
    Contender("meshfab", "meshfab", _meshfab),
    Contender("tight", "the script in one ssh", tight),
    Contender("multiplexed", "the script, multiplexed", _multiplexed),
    Contender("script", "the script", _script),
    Contender("pyinfra", "pyinfra", _pyinfra),
    Contender("ansible", "Ansible", _ansible),
)
TITLES = {one.key: one.title for one in (FLOOR, *CONTENDERS)}
