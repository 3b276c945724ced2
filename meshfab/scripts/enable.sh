# Enable and start timers. --no-reload: an instance of a template needs none, and a reload costs 100 ms.
# $1 `reload` where one runs already: what systemd has in memory says `disabled` on, if somebody disabled it; then the timers
# shellcheck shell=sh
set -eu
reload=$1
shift
systemctl --quiet --no-reload --now enable "$@" 2>/dev/null || {
	# An old systemd does not see a unit file that is younger than its cache.
	systemctl daemon-reload
	systemctl --quiet --now enable "$@"
}
[ -z "$reload" ] || systemctl daemon-reload
