# Install units, each complete or not at all, and enable timers. A file that is there as wanted is not touched.
# $1 `reload` if systemd is known to have older units, $2 the timers, $3 `reload` if one of them runs already: systemd
# keeps `disabled` in memory if somebody disabled it; then for each file: path mode text
# shellcheck shell=sh
set -eu
umask 022
reload=$1 timers=$2 again=$3
shift 3
# The arguments are paths and unit names without blanks.
# shellcheck disable=SC2086
install_files() {
	# Services share the units, so the lock of a service is not enough here.
	exec 7>>/run/meshfab/.units.lock
	flock -w 60 7
	made='' placed='' new_template=no
	trap 'rm -f -- $made' EXIT
	for pass in write move; do
		count=$#
		while [ "$count" -ge 3 ]; do
			new=${1%/*}/.${1##*/}.new
			if [ $pass = move ]; then
				mv -fT -- "$new" "$1"
				placed="$placed $1"
			elif [ -f "$1" ] && printf %s "$3" | cmp -s - "$1"; then
				# Only if it has another mode: chmod changes the ctime, by which has_read_units in library.sh judges.
				[ "0$(stat -c %a -- "$1")" = "$2" ] || {
					chmod "$2" "$1"
					reload=reload
				}
			else
				# systemd may have an older version of a changed unit or a drop-in in memory.
				case $1 in
				/etc/systemd/*) if [ -e "$1" ] || [ "${1%.conf}" != "$1" ]; then reload=reload; else new_template=yes; fi ;;
				esac
				[ -d "${1%/*}" ] || install -d -m 0755 -- "${1%/*}"
				made="$made $new"
				if [ "$2" = 0644 ]; then
					printf %s "$3" >"$new" # the umask gives 0644
				else
					(umask 077 && printf %s "$3" >"$new") # it may have a secret
					chmod "$2" "$new"
				fi
				set -- "$@" "$1" "$2" "$3"
			fi
			shift 3
			count=$((count - 3))
		done
		# One call for all: every process takes a millisecond.
		[ $pass = move ] || [ -z "$made" ] || sync $made
	done
	[ -z "$placed" ] || ! command -v restorecon >/dev/null || restorecon $placed
	# For has_read_units in library.sh: systemd can have no older version than these in memory.
	if [ $new_template = yes ] && [ -z "$reload" ]; then : >/run/meshfab/.units-new; fi
}

# Not with `||`, which would switch `set -e` off inside the function.
if [ $# != 0 ]; then install_files "$@"; fi
[ -n "$timers" ] || {
	[ -z "$reload" ] || systemctl daemon-reload
	exit 0
}
# --no-reload: an instance of a template needs no reload, and a reload takes 100 ms. But from systemd 255 on, systemd then
# wants one for every unit of the host, and each later `systemctl` of an operator would print a warning.
# shellcheck disable=SC2086
systemctl --quiet --no-reload enable $timers
[ "$(systemctl show -P NeedDaemonReload init.scope)" != yes ] || reload=reload
[ -z "$reload$again" ] || systemctl daemon-reload
# shellcheck disable=SC2086
systemctl --quiet start $timers 2>/dev/null || {
	# An old systemd does not find a unit file that is newer than its cache.
	systemctl daemon-reload
	systemctl --quiet start $timers
}
