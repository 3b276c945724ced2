"""A host as it was when it was brought up, for a test that wants one that nobody has touched."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.faults import faults
from lab.layout import current
from lab.machine import machine, namespace_holder
from lab.machine.process import run
from lab.services import hosts

if TYPE_CHECKING:
    from lab.layout import Lab

# What a test may write to, and all that a service of ours is made of. The rest of a host is a
# read-only image as far as anybody has a reason to care.
_FOLDERS = ("etc", "home", "opt", "root", "srv", "usr/local", "usr/share/nginx", "var/lib")
_UNTOUCHED = ("/var/lib/systemd", "/var/lib/dpkg", "/var/lib/apt")


def keep(lab: Lab, host: str) -> None:
    """Remember the host's disk as it is now: a copy of its own layer, and a look at the whole."""
    folder = lab.hosts / host
    script = f"cp -a {folder}/upper {folder}/kept && mkdir {folder}/pristine"
    run(namespace_holder.inside(lab, "sh", "-c", script))
    layers = [str(folder / "kept"), *machine.layers(lab, host)]
    options = f"ro,lowerdir={':'.join(layers)}"
    run(namespace_holder.inside(lab, "mount", "-t", "overlay", "lab", "-o", options, f"{folder}/pristine"))


def reset(host: str) -> None:
    """Make the host what it was when it was brought up: links, disk, units, processes, /tmp.

    In place, in about a quarter of a second. A host that is down, or that comes out of this with
    anything amiss, is built anew: some seconds, and no doubt.
    """
    lab = current()
    faults.restore(host)
    faults.undelay(host)
    if machine.is_up(lab, host):
        try:
            hosts.run(host, _QUIET)
            changed = _put_back(lab, host)
            hosts.run(host, _SETTLE, input=changed)
            return
        except (LabError, subprocess.TimeoutExpired):
            pass
    rebuild(host)


def rebuild(host: str) -> None:
    """Boot the host from a fresh copy of the disk that it had."""
    lab = current()
    machine.halt(lab, host, clean=False)
    folder = lab.hosts / host
    run(namespace_holder.inside(lab, "umount", "--recursive", str(folder / "root")))
    for name in ("upper", "work"):
        shutil.rmtree(namespace_holder.seen(lab, folder / name))
    script = f"cp -a {folder}/kept {folder}/upper && mkdir {folder}/work"
    run(namespace_holder.inside(lab, "sh", "-c", script))
    machine.mount(lab, host)
    machine.boot(lab, host)
    machine.wait(lab, host)


def _put_back(lab: Lab, host: str) -> str:
    """Make the host's folders what they were; returns what was not, a line for each file."""
    folder = lab.hosts / host
    argv = ["rsync", "-aHAX", "--relative", "--delete", "--out-format=%n"]
    argv += [f"--exclude={path}" for path in _UNTOUCHED]
    argv += [f"{folder}/pristine/./{name}" for name in _FOLDERS]
    return run(namespace_holder.inside(lab, *argv, f"{folder}/root/"), timeout=60)


# Before the files: nothing of a test may go on that could write them again. Transient units are
# those of systemd-run, and the scopes of SSH sessions.
_QUIET = """
cd /
for place in $(awk '$1 == "full" { print $2 }' /proc/mounts) /run/lab-full*/under; do
    umount --lazy "$place" 2>/dev/null
done
rm -rf /run/lab-full*
systemctl stop 'step@*' 2>/dev/null
for unit in /run/systemd/transient/*.timer /run/systemd/transient/*.service \
    /run/systemd/transient/session-*.scope; do
    [ -e "$unit" ] || continue
    systemctl kill --signal=KILL "${unit##*/}" 2>/dev/null
    systemctl stop "${unit##*/}" 2>/dev/null
done
:
"""
# After them: what systemd and nginx hold in memory follows the disk. nginx is killed because its
# own stop waits for clients, and a reload would say nothing about when it is through.
_SETTLE = """
set -eu
changed=$(cat)
rm -rf /run/meshfab /run/nginx.tls
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' \
    -exec rm -rf {} +
case $changed in
*etc/systemd/*) systemctl daemon-reload ;;
esac
systemctl kill --kill-whom=all --signal=KILL nginx 2>/dev/null || :
systemctl reset-failed
systemctl restart nginx
[ -z "$(systemctl list-units --all --plain --no-legend 'step@*')" ]
"""
