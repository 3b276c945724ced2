# Mint a pair into a staging folder and print it.
# $1 step, $2 staging folder, $3 password file, $4 provisioner, $5 CA, $6 root, then the names
# shellcheck shell=sh
set -eu
step=$1 stage=$2 secret=$3 provisioner=$4 ca=$5 root=$6
shift 6
[ ! -e "$stage" ] || rm -rf -- "$stage"
mkdir -m 0700 -- "$stage"
first=$1
for name in "$@"; do
	shift
	# Always --san, for the first name too: clients ignore the CN.
	set -- "$@" --san "$name"
done
# step derives one key from the password and ends: Go's other threads and its garbage collector only take time.
GOMAXPROCS=1 GOGC=off timeout 60 "$step" ca certificate --force --provisioner "$provisioner" --provisioner-password-file "$secret" \
	--ca-url "$ca" --root "$root" "$@" "$first" "$stage/cert" "$stage/key" </dev/null >"$stage/output" 2>&1 || {
	status=$?
	# For a refusal of the CA, a hint about step itself follows the CA's words.
	print_error "$(grep -v '^Re-run with STEPDEBUG' "$stage/output" | tail -n 1)"
	exit "$status"
}
put cert "$(cat "$stage/cert")"
put public "$(openssl pkey -in "$stage/key" -passin pass: -pubout 2>/dev/null)"
