# Read a host's facts and change nothing, with the functions of facts.sh.
# $1 root certificate, $2 vhost folder or '', then six words for each service, as for put_services
# shellcheck shell=sh
set -u
root=$1 conf_dir=$2
shift 2
# The two slow questions take a third of the time together: they are asked first, and their answers are read last.
read_nginx | {
	exec 3<&0
	read_systemd '' "$@" | {
		put_host "$root" </dev/null
		put_services "$conf_dir" "$@" </dev/null
		put_nginx_and_units "$(cat <&3)" "$(cat)"
	}
}
