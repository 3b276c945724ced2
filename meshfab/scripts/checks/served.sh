# Ask, from the host itself, for the leaf that a TLS client gets. $1 address:port, $2 SNI
# shellcheck shell=sh
timeout 10 openssl s_client -connect "$1" -servername "$2" </dev/null 2>&1 | openssl x509 2>&1
