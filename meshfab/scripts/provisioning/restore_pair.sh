# Restore the old pair, the key first as in commit.sh. $1 certificate, $2 key
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
for file in "$2" "$1"; do
	old=${file%/*}/.${file##*/}.old
	[ ! -e "$old" ] || mv -fT -- "$old" "$file"
done
sync "${1%/*}" "${2%/*}"
