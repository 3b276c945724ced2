"""Reset a host to its state after `inv lab.up`, for a test that needs an unchanged host."""

from __future__ import annotations

import subprocess

from lab.errors import LabError
from lab.faults import faults
from lab.layout import current
from lab.machine import machine, snapshot
from lab.services import hosts


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
            changed = snapshot.restore_files(lab, host)
            hosts.run(host, _SETTLE, input=changed)
            return
        except (LabError, subprocess.TimeoutExpired):
            pass
    snapshot.rebuild(lab, host)


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
