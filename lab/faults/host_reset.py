"""Reset a host to its state after `inv lab.up`, for a test that needs an unchanged host."""

from __future__ import annotations

import subprocess

from lab.errors import LabError
from lab.faults import faults
from lab.layout import current
from lab.machine import machine, snapshot
from lab.services import hosts


def reset(host: str) -> None:
    """Undo every change of a host since it was brought up: link, disk, units, processes and /tmp.

    A running host is reset without a reboot, in about a quarter of a second. A host that is down, or on which that
    fails, is rebuilt from its snapshot; this takes some seconds.
    """
    lab = current()
    faults.restore(host)
    faults.undelay(host)
    if machine.is_up(lab, host):
        try:
            hosts.run(host, _STOP_ACTIVITY, timeout=60)
            changed_paths = snapshot.restore_files(lab, host)
            hosts.run(host, _RELOAD_SERVICES, input=changed_paths, timeout=60)
            return
        except (LabError, subprocess.TimeoutExpired):
            pass
    snapshot.rebuild(lab, host)


# Runs before the files are restored: no process of a test may write to them again. The transient units are those of
# systemd-run and the scopes of SSH sessions.
_STOP_ACTIVITY = """
cd /
for mount_point in $(awk '$1 == "full" { print $2 }' /proc/mounts) /run/lab-full*/under; do
    umount --lazy "$mount_point" 2>/dev/null
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
# Runs after the files are restored: systemd and nginx must load them again. nginx is killed, because a stop waits for
# its clients, and the end of a reload cannot be observed.
_RELOAD_SERVICES = """
set -eu
changed_paths=$(cat)
rm -rf /run/meshfab /run/nginx.tls
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' \
    -exec rm -rf {} +
case $changed_paths in
*etc/systemd/*) systemctl daemon-reload ;;
esac
systemctl kill --kill-whom=all --signal=KILL nginx 2>/dev/null || :
systemctl reset-failed
systemctl restart nginx
[ -z "$(systemctl list-units --all --plain --no-legend 'step@*')" ]
"""
