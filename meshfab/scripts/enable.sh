# Enable and start a timer. --no-reload: an instance of a template needs none, and a reload costs 100 ms.
# $1 the timer, $2 `reload` where it runs already: what systemd has in memory says `disabled` on, if somebody disabled it
# shellcheck shell=sh
set -eu
systemctl --quiet --no-reload --now enable "$1" 2>/dev/null || {
	# An old systemd does not see a unit file that is younger than its cache.
	systemctl daemon-reload
	systemctl --quiet --now enable "$1"
}
[ -z "$2" ] || systemctl daemon-reload
