# Put the old pair back, key first as it came. $1 certificate, $2 key
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
for file in "$2" "$1"; do
	old=${file%/*}/.${file##*/}.old
	[ ! -e "$old" ] || mv -fT -- "$old" "$file"
done
sync "${1%/*}" "${2%/*}"
