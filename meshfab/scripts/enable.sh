# Enable and start a timer. --no-reload: an instance of a template needs none, and a reload costs 100 ms.
# $1 the timer
# shellcheck shell=sh
set -eu
systemctl --quiet --no-reload enable "$1"
systemctl start "$1" 2>/dev/null || {
	# An old systemd does not see a unit file that is younger than its cache.
	systemctl daemon-reload
	systemctl start "$1"
}
# What systemd has in memory says `disabled` on, where somebody disabled a timer that went on running.
[ "$(systemctl show -p UnitFileState --value "$1")" = enabled ] || systemctl daemon-reload
