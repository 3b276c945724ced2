# Put files in place, each complete or not at all; one that is there as wanted is not touched.
# $1 `reload` when systemd is known to hold older units, then for each file: path mode text
# shellcheck shell=sh
set -eu
reload=$1
shift
# Services share the units, and a lock of their own does not keep two of them apart here.
exec 7>>/run/meshfab/.units.lock
flock -w 60 7
made='' placed=''
# The words are paths of ours, without blanks.
# shellcheck disable=SC2086
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
			chmod "$2" "$new"
			set -- "$@" "$1" "$2" "$3"
		fi
		shift 3
		count=$((count - 3))
	done
	# One call for all: every process started here costs a millisecond.
	# shellcheck disable=SC2086
	[ $pass = move ] || [ -z "$made" ] || sync $made
done
# shellcheck disable=SC2086
[ -z "$placed" ] || ! command -v restorecon >/dev/null || restorecon $placed
[ -z "$reload" ] || systemctl daemon-reload
