"""`python -m bench.profile HOSTS RUNS FILE`, inside the lab: where the time of provision and check-certs goes.

provision does one thing after the other, so its wall-clock time is divided into consecutive parts; the part of a round
trip is named after the scripts in it. check-certs works on many hosts at once and is limited by the CPU, so its CPU
time is divided. Every run is a separate process (`python -m bench.profile run WHAT FILE ARG...`). The medians are
written to FILE.
"""

from __future__ import annotations

import itertools
import json
import pkgutil
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import contenders, runner, verifier
from bench.inventory import Inventory, sites
from bench.stopwatch import BETWEEN_CALLS, CpuTimes, Timeline
from lab import layout
from lab.cli.progress import print_line
from lab.errors import LabError
from lab.faults import host_reset
from lab.services import dns

# Parts below this are added up.
_MINIMUM_MS = 2.0
Parts = list[tuple[float, str]]
# The functions to measure (module or class, function) and the part that each call of them is.
_PROVISION_CALLS = (
    ("meshfab.ssh.connection", "ensure_open", lambda *_: "SSH: handshake and login"),
    ("meshfab.ssh.root_shell:RootShell", "_start", lambda *_: "SSH: session, PAM, sudo"),
    (
        "meshfab.ssh.root_shell:RootShell",
        "_batch",
        lambda _, requests, __: f"host: {' + '.join(request.script for request in requests)}",
    ),
    (
        "meshfab.provisioning.signed_pairs",
        "sign_all",
        lambda *_: "CA: signatures, and the rest of unlocking the key",
    ),
    ("meshfab.host.tls_client", "until", lambda *_: "TLS: wait until the new certificate is served"),
)
_CHECK_CERTS_CALLS = (
    ("paramiko:Transport", "run", "SSH: key exchange and encryption (paramiko's own threads)"),
    ("meshfab.ssh.session", "connect_by_settings", "Fabric connections, with Invoke's configuration and ~/.ssh/config"),
    ("meshfab.ssh.session", "ensure_open", "SSH: connect and log in"),
    ("meshfab.ssh.root_shell:RootShell", "_start", "SSH: session and root shell"),
    ("meshfab.ssh.root_shell:RootShell", "_batch", "SSH: send the probe, receive its output"),
    ("meshfab.host.discovery", "parse", "parse the probe's output (nginx configuration, certificates)"),
    ("meshfab.checks.endpoint_probe:EndpointProbe", "observe", "resolve names, and start a thread for each service"),
    ("meshfab.fleet.host_check", "_certificates", "the worker of each host: its deadline, closing the connection"),
    ("meshfab.host.tls_client", "ask", "TLS: fetch the served certificates"),
    ("meshfab.checks.evaluate", "evaluate_host", "evaluate the checks"),
    ("meshfab.cli.table", "show", "print the table"),
)


def profile_provision(args: list[str]) -> Parts:
    """Run one provision command in this process; returns its parts, in seconds of wall-clock time."""
    timeline = Timeline()
    from invoke.program import Program  # noqa: F401

    timeline.mark("import Invoke")
    import meshfab.cli.tasks  # noqa: F401
    from meshfab.nginx import vhost  # noqa: F401
    from meshfab.provisioning import api, operator_signing  # noqa: F401

    timeline.mark("import meshfab, cryptography, Jinja2 and rich")
    import fabric  # noqa: F401

    timeline.mark("import Fabric and paramiko")
    for owner, name, label in _PROVISION_CALLS:
        timeline.measure(pkgutil.resolve_name(owner), name, label)
    _run_inv(args)
    timeline.mark(BETWEEN_CALLS)
    return timeline.parts


def profile_check_certs(args: list[str]) -> Parts:
    """Run one check-certs command in this process; returns the CPU seconds of all threads by part, and both totals."""
    cpu_times, began, cpu_before = CpuTimes(), time.perf_counter(), time.process_time()
    import fabric  # noqa: F401
    from invoke.program import Program  # noqa: F401

    import meshfab.cli.tasks  # noqa: F401
    from meshfab.cli import table  # noqa: F401
    from meshfab.fleet import check_certs  # noqa: F401

    cpu_times.seconds["imports"] = time.process_time() - cpu_before
    for owner, name, part in _CHECK_CERTS_CALLS:
        cpu_times.measure(pkgutil.resolve_name(owner), name, part)
    _run_inv(args)
    total = time.process_time() - cpu_before
    cpu_times.seconds["the rest: thread start, waiting, Invoke"] = total - sum(cpu_times.seconds.values())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    parts = [(seconds, part) for part, seconds in cpu_times.seconds.items()]
    parts.append((children.ru_utime + children.ru_stime, "child processes"))
    return [*parts, (total, "**total CPU time**"), (time.perf_counter() - began, "**wall-clock time**")]


def _run_inv(args: list[str]) -> None:
    from invoke.program import Program

    Program(version="0").run([str(Path(sys.executable).with_name("inv")), *args], exit=False)


def medians(runs: list[Parts]) -> list[tuple[float, str]]:
    """The median milliseconds of each part, in the order of their first appearance; small parts are added up."""
    order = list(dict.fromkeys(part for run in runs for _, part in run))
    milliseconds = {
        part: 1000 * statistics.median(sum(seconds for seconds, name in run if name == part) for run in runs)
        for part in order
    }
    rows = [(round(ms, 1), part) for part, ms in milliseconds.items() if ms >= _MINIMUM_MS]
    rest = sum(ms for ms in milliseconds.values() if ms < _MINIMUM_MS)
    return [*rows, (round(rest, 1), "parts below 2 ms")] if rest >= _MINIMUM_MS else rows


def _run_separately(command: str, args: list[str]) -> Parts:
    """Profile one run in a separate process."""
    with tempfile.NamedTemporaryFile() as file:
        argv = [sys.executable, "-m", "bench.profile", "run", command, file.name, *args]
        process = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if process.returncode:
            raise LabError(f"{command}: {(process.stderr.strip() or 'no error message').splitlines()[-1]}")
        return [(seconds, part) for seconds, part in json.loads(Path(file.name).read_text())]


def _measure(hosts: int, runs: int) -> dict[str, list[tuple[float, str]]]:
    folder = layout.current().state / "bench"
    one_host, all_hosts = Inventory(folder / "1", sites(1)), Inventory(folder / "all", sites(hosts))
    for inventory in (one_host, all_hosts):
        inventory.write()
    for site in all_hosts.sites:
        dns.point(site.name, site.host)
    profiles = _measure_provision(one_host, runs)
    # check-certs does not depend on the contender that provisions the hosts; the script in one ssh is a fast one.
    runner.reset(all_hosts, "lan")
    subprocess.run(
        contenders.tight(all_hosts)["first"].argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    if problems := verifier.verify_all(all_hosts.sites):
        raise LabError(f"the hosts are not provisioned: {problems[0]}")
    checks = [_run_separately("check-certs", ["-f", str(all_hosts.invoke), "check-certs"]) for _ in range(runs)]
    return profiles | {f"check-certs on {hosts} hosts, CPU time": medians(checks)}


def _measure_provision(inventory: Inventory, runs: int) -> dict[str, list[tuple[float, str]]]:
    site, login = inventory.sites[0], contenders.SSH.commands(inventory, {})["true"].argv
    samples: dict[str, list[Parts]] = {}
    for number, mode in itertools.product(range(runs), ("host", "operator")):
        host_reset.reset(site.host)
        subprocess.run(login, check=True)  # warm-up: the first login after a reset is slower
        for title in (f"First run on one host, signing: {mode}", f"Second run on one host, signing: {mode}"):
            argv = ["provision", "--name", site.name, "--host", site.host, "--signing", mode]
            samples.setdefault(title, []).append(_run_separately("provision", argv))
            print_line(f"{number + 1}/{runs}", f"{title}: {sum(seconds for seconds, _ in samples[title][-1]):.2f} s")
    return {title: medians(profiles) for title, profiles in samples.items()}


def main() -> None:
    """Profile one run, or profile all runs and save their medians."""
    if sys.argv[1] == "run":
        command, file, args = sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
        parts = profile_provision(args) if command == "provision" else profile_check_certs(args)
        file.write_text(json.dumps(parts))
        return
    profiles = _measure(int(sys.argv[1]), int(sys.argv[2]))
    file = Path(sys.argv[3])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(profiles, indent=1) + "\n")


if __name__ == "__main__":
    main()
