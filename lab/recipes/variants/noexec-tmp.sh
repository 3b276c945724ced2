# shellcheck shell=sh
# /tmp on a file system of its own, from which nothing can be executed.

cat >/etc/systemd/system/tmp.mount <<'UNIT'
[Unit]
Description=/tmp without execution
DefaultDependencies=no
Conflicts=umount.target
Before=local-fs.target umount.target
After=swap.target

[Mount]
What=tmpfs
Where=/tmp
Type=tmpfs
Options=mode=1777,nosuid,nodev,noexec

[Install]
WantedBy=local-fs.target
UNIT
systemctl -q enable tmp.mount
