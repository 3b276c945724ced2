# Take vhosts out of nginx's configuration, test it and load it; on any failure restore them.
# $1 reload, or '' if nginx does not run; $2 nginx's error log, $3 its main process; then for each vhost: path, link or ''
# Without a vhost it only tests and loads. Prints `before` if nginx refused the configuration with them, too.
# Exit status: status_config_refused, those of `load_nginx`, status_busy
# shellcheck shell=sh disable=SC2154
set -u
trap '' HUP INT TERM PIPE
action=$1 log=$2 main=$3
shift 3

each() { # CALLBACK PATH LINK...: run it for each vhost, with path, link and old set
	callback=$1
	shift
	while [ $# -ge 2 ]; do
		path=$1 link=$2 old=${1%/*}/.${1##*/}.old
		"$callback" || return
		shift 2
	done
}
take_out() {
	[ -z "$link" ] || [ ! -L "$link" ] || mv -fT -- "$link" "${link%/*}/.${link##*/}.old" || return
	[ ! -e "$path" ] || mv -fT -- "$path" "$old"
}
restore() {
	[ ! -e "$old" ] || mv -fT -- "$old" "$path"
	[ -z "$link" ] || [ ! -L "${link%/*}/.${link##*/}.old" ] || mv -fT -- "${link%/*}/.${link##*/}.old" "$link"
}
drop() { rm -f -- "$old" ${link:+"${link%/*}/.${link##*/}.old"}; }
test_config() { output=$(umask 022 && nginx -t 2>&1); }

take_nginx_lock || exit
test_config || echo before
each take_out "$@" || {
	each restore "$@"
	exit 1
}
test_config || {
	each restore "$@"
	print_error "$output"
	exit "$status_config_refused"
}
[ -z "$action" ] || load_nginx "$action" "$log" "$main" || {
	status=$?
	each restore "$@"
	# nginx may still load the configuration without them: it is loaded again.
	load_nginx "$action" "$log" "$main" 2>/dev/null
	exit "$status"
}
each drop "$@"
