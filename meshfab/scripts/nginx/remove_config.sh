# Remove the files of this run again after nginx had loaded them: restore the old files and load them.
# $1 reload, or restart if this run started nginx, $2 nginx's error log, $3 its main process; then for each file: path,
# the link to it that this run made or '', and the SHA-256 of the text that was written. A file with another text is not
# touched.
# shellcheck shell=sh disable=SC2154
set -u
trap '' HUP INT TERM PIPE
action=$1 log=$2 main=$3 failed=0
shift 3
take_nginx_lock || exit
while [ $# -ge 3 ]; do
	old=${1%/*}/.${1##*/}.old
	[ -z "$2" ] || rm -f -- "$2"
	if [ "$(sha256sum <"$1" 2>/dev/null)" = "$3  -" ]; then
		if [ -e "$old" ] || [ -L "$old" ]; then mv -fT -- "$old" "$1"; else rm -f -- "$1"; fi || failed=1
		case ${1%/*} in */snippets) rmdir -- "${1%/*}" 2>/dev/null ;; esac
	fi
	shift 3
done
[ "$failed" = 0 ] || exit 1
output=$(umask 022 && nginx -t 2>&1) || {
	print_error "$output"
	exit "$status_config_refused"
}
load_nginx "$action" "$log" "$main"
