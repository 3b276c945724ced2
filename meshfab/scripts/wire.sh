# Put a vhost in and try it. $1 its path, $2 the link that enables it or '', $3 its text
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
[ -d /run/meshfab ] || mkdir -m 0700 /run/meshfab
exec 8>>/run/meshfab/nginx.lock
flock -w 60 8 # the ticks of other services try the configuration too
new=${1%/*}/.${1##*/}.new old=${1%/*}/.${1##*/}.old
trap 'rm -f -- "$new"' EXIT
[ -d "${1%/*}" ] || install -d -m 0755 -- "${1%/*}"
printf %s "$3" >"$new"
chmod 0644 "$new"
sync "$new"
rm -f -- "$old"
[ ! -e "$1" ] || ln -- "$1" "$old"
mv -fT -- "$new" "$1"
! command -v restorecon >/dev/null || restorecon "$1"
[ -z "$2" ] || ln -s -- "$1" "$2"
(umask 022 && nginx -t) >/dev/null 2>"$new" || {
	said=$(cat "$new")
	[ -z "$2" ] || rm -f -- "$2"
	if [ -e "$old" ]; then mv -fT -- "$old" "$1"; else rm -f -- "$1"; fi
	say "$said"
	exit 3
}
