# Print the public halves of private keys. Every argument is the path of one.
# shellcheck shell=sh
for key in "$@"; do
	[ ! -f "$key" ] || put "$key" "$(openssl pkey -in "$key" -passin pass: -pubout 2>/dev/null)"
done
