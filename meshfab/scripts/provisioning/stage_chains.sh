# Put the chains that the CA signed beside their keys. For each pair: staging folder, chain
# shellcheck shell=sh
set -eu
while [ $# -ge 2 ]; do
	[ -f "$1/key" ]
	printf %s "$2" >"$1/cert"
	shift 2
done
