# Test nginx's configuration and load it. $1 reload or start, $2 nginx's error log, $3 its main process.
# Exit status as for install_config.sh
# shellcheck shell=sh disable=SC2154
set -u
trap '' HUP INT TERM PIPE
take_nginx_lock || exit
output=$(umask 022 && nginx -t 2>&1) || {
	print_error "$output"
	exit "$status_config_refused"
}
load_nginx "$1" "$2" "$3"
