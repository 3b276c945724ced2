# Finish a move that lost its machine between the two renames. $1 certificate
# shellcheck shell=sh
set -eu
mv -fT -- "${1%/*}/.${1##*/}.new" "$1"
sync "${1%/*}"
