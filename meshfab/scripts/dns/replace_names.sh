# Replace a file of names, have it checked, and load it; on any failure put the old one back and load that.
# $1 the file, $2 the digest (SHA-256) of what it holds, or `missing`, $3 the program that checks the server's
# configuration or '', $4 a function of this script that loads it or '', then the operator's own command that does
# $data the new text
# Exit status: status_file_changed, status_busy
# shellcheck shell=sh disable=SC2154
set -u
umask 022
trap '' HUP INT TERM PIPE
digest=$2 check=$3 loader=$4 file=$1
shift 4

# dnsmasq reads hosts files again, and forgets what it has kept of them, only on SIGHUP; that includes a `hostsdir`,
# which it watches, for names that are gone. CoreDNS and the C library look by themselves.
reload_dnsmasq() { ! pgrep -x dnsmasq >/dev/null 2>&1 || pkill -HUP -x dnsmasq; }
# Before unbound 1.17.1 there is no way to keep the answers that it has.
reload_unbound() { unbound-control reload_keep_cache || unbound-control reload; }
load() {
	if [ -n "$check" ] && ! output=$(timeout 30 "$check" 2>&1); then return 1; fi
	if [ -n "$loader" ]; then
		output=$("$loader" 2>&1)
	else
		output=$(timeout 30 "$@" 2>&1)
	fi
}
restore() {
	rm -f -- "$new"
	if [ -e "$old" ]; then mv -fT -- "$old" "$path"; else rm -f -- "$path"; fi
}

[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
exec 8>>/run/meshfab/.names.lock
flock -w 60 8 || {
	print_error "another run writes names on this host"
	exit "$status_busy"
}
# A link stays one: the file that it leads to is replaced.
path=$(readlink -f -- "$file") && [ -n "$path" ] || {
	print_error "the folder of $file is not there"
	exit 1
}
now=missing
[ ! -e "$path" ] || now=$(sha256sum <"$path")
[ "${now%% *}" = "$digest" ] || exit "$status_file_changed"

# In a `hostsdir`, dnsmasq reads no file whose name begins with a dot.
new=${path%/*}/.${path##*/}.new old=${path%/*}/.${path##*/}.old
write_new() {
	if [ "$now" = missing ]; then : >"$new"; else cp -p -- "$path" "$new" && ln -- "$path" "$old"; fi || return
	printf %s "$data" | cat >"$new" && sync "$new" && mv -fT -- "$new" "$path"
}
rm -f -- "$new" "$old"
write_new || {
	rm -f -- "$new" "$old"
	exit 1
}
restore_label "$path"
load "$@" || {
	print_error "$output"
	restore
	load "$@"
	exit 1
}
rm -f -- "$old"
