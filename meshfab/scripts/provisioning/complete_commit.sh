# Complete a move that a power cut interrupted between the two renames. $1 certificate
# shellcheck shell=sh
set -eu
mv -fT -- "${1%/*}/.${1##*/}.new" "$1"
sync "${1%/*}"
