# Take the vhost of this run out again. $1 its path, $2 the link that this run made or ''
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
old=${1%/*}/.${1##*/}.old
[ -z "$2" ] || rm -f -- "$2"
if [ -e "$old" ]; then mv -fT -- "$old" "$1"; else rm -f -- "$1"; fi
