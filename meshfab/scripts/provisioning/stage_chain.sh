# Put the chain that the CA signed beside its key, in the staging folder. $1 staging folder, $2 chain
# shellcheck shell=sh
set -eu
[ -f "$1/key" ]
printf %s "$2" >"$1/cert"
