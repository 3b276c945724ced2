# Revoke a certificate with its own pair, over mTLS: the CA then renews it no more. Prints `revoked` or `was revoked`.
# $1 step, $2 certificate, $3 key, $4 CA, $5 root, $6 the reason, as RFC 5280 calls it, such as cessationOfOperation,
# $7 the serial that the certificate must have, as openssl prints it
# shellcheck shell=sh
set -u
serial=$(openssl x509 -noout -serial -in "$2" 2>/dev/null)
[ "$serial" = "serial=$7" ] || {
	print_error "$2 was replaced in the meantime: its serial is ${serial#serial=}, not $7"
	exit 1
}
output=$(timeout 30 "$1" ca revoke --cert "$2" --key "$3" --reasonCode "$6" --ca-url "$4" --root "$5" </dev/null 2>&1) && {
	echo revoked
	exit 0
}
status=$?
case $output in *'is already revoked'*)
	echo 'was revoked'
	exit 0
	;;
esac
# What step prints besides: the CA's name, and how to see more.
print_error "$(printf '%s\n' "${output:-no answer in 30 s}" | grep -v -e 'STEPDEBUG' -e 'CA.*https://' | head -n 1)"
exit "$status"
