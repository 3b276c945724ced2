# Remove the files of a service. nginx must accept its configuration without those that it could name: if it does not, they
# are restored, and no file is removed.
# $1 their number, or 0 if nginx is not asked; then these files, then the others, each in the order of removal
# Exit status: status_config_refused, status_busy
# shellcheck shell=sh disable=SC2154
set -u
trap '' HUP INT TERM PIPE
tested=$1 number=0
shift
each_tested() { # CALLBACK FILE...: run it for each file that nginx could name, with file and aside set
	callback=$1 number=0
	shift
	for file in "$@"; do
		[ $((number += 1)) -le "$tested" ] || return 0
		aside=${file%/*}/.${file##*/}.retired
		"$callback" || return
	done
}
take() { [ ! -e "$file" ] || mv -fT -- "$file" "$aside"; }
restore() { [ ! -e "$aside" ] || mv -fT -- "$aside" "$file"; }
drop() { rm -f -- "$aside"; }

if [ "$tested" != 0 ]; then
	take_nginx_lock || exit
	output=$(each_tested take "$@" 2>&1 && umask 022 && nginx -t 2>&1) || {
		each_tested restore "$@"
		print_error "$output"
		exit "$status_config_refused"
	}
	each_tested drop "$@" || exit
fi
for file in "$@"; do
	if [ -d "$file" ] && [ ! -L "$file" ]; then rmdir -- "$file"; else rm -f -- "$file"; fi || exit
	# A folder of this service's own is made for its files.
	case $file in /etc/systemd/system/*/*) drop_ins=${file%/*} ;; esac
done
[ -z "${drop_ins-}" ] || {
	rmdir -- "$drop_ins" 2>/dev/null
	systemctl daemon-reload
}
