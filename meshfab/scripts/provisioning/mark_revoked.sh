# Record in a service's history that the CA has revoked a certificate, if there is a history. $1 the service, $2 the serial
# shellcheck shell=sh
program=/usr/local/libexec/meshfab-history
[ ! -x $program ] || $program revoked "$1" "$2"
