# Put units in place, each complete or not at all, and enable timers. A file that is there as wanted is not touched.
# $1 `reload` when systemd is known to hold older units, $2 the timers, $3 `reload` where one of them runs already: what
# systemd has in memory says `disabled` on, if somebody disabled it; then for each file: path mode text
# shellcheck shell=sh
set -eu
umask 022
reload=$1 timers=$2 again=$3
shift 3
# The words are paths and units of ours, without blanks.
# shellcheck disable=SC2086
install_files() {
	# Services share the units, and a lock of their own does not keep two of them apart here.
	exec 7>>/run/meshfab/.units.lock
	flock -w 60 7
	made='' placed=''
	trap 'rm -f -- $made' EXIT
	for pass in write move; do
		count=$#
		while [ "$count" -ge 3 ]; do
			new=${1%/*}/.${1##*/}.new
			if [ $pass = move ]; then
				mv -fT -- "$new" "$1"
				placed="$placed $1"
			elif [ -f "$1" ] && printf %s "$3" | cmp -s - "$1"; then
				chmod "$2" "$1"
			else
				# A unit that changes, and a drop-in, is read by a manager that may hold an older one.
				case $1 in /etc/systemd/*) [ ! -e "$1" ] && [ "${1%.conf}" = "$1" ] || reload=reload ;; esac
				[ -d "${1%/*}" ] || install -d -m 0755 -- "${1%/*}"
				made="$made $new"
				printf %s "$3" >"$new"
				[ "$2" = 0644 ] || chmod "$2" "$new" # which is what the umask leaves
				set -- "$@" "$1" "$2" "$3"
			fi
			shift 3
			count=$((count - 3))
		done
		# One call for all: every process started here costs a millisecond.
		[ $pass = move ] || [ -z "$made" ] || sync $made
	done
	[ -z "$placed" ] || ! command -v restorecon >/dev/null || restorecon $placed
}

# Not by `||`, which would make the shell overlook errors within.
if [ $# != 0 ]; then install_files "$@"; fi
[ -z "$reload" ] || systemctl daemon-reload
[ -n "$timers" ] || exit 0
# --no-reload: an instance of a template needs none, and a reload costs 100 ms.
# shellcheck disable=SC2086
systemctl --quiet --no-reload --now enable $timers 2>/dev/null || {
	# An old systemd does not see a unit file that is younger than its cache.
	systemctl daemon-reload
	systemctl --quiet --now enable $timers
}
[ -z "$again" ] || systemctl daemon-reload
