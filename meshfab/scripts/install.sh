# Put files in place, each complete or not at all.
# $1 `reload` when systemd holds older units, then for each file: path mode text
# shellcheck shell=sh
set -eu
reload=$1
shift
while [ $# -ge 3 ]; do
	folder=${1%/*} new=${1%/*}/.${1##*/}.new
	[ -d "$folder" ] || install -d -m 0755 "$folder"
	trap 'rm -f -- "$new"' EXIT
	printf %s "$3" >"$new"
	chmod "$2" "$new"
	sync "$new"
	mv -fT -- "$new" "$1"
	! command -v restorecon >/dev/null || restorecon "$1"
	shift 3
done
[ -z "$reload" ] || systemctl daemon-reload
