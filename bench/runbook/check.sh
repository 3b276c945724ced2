#!/bin/sh
# check.sh HOST NAME: checks that the certificate is valid for long enough, that its timer is active, that the password
# is removed, and that a client gets this certificate. It uses one ssh to the host, and a TLS client on this machine.
# Exit status 0, or 1 with one line that says what is wrong.
set -u
host=$1 name=$2
fqdn=$name.internal
cert=/etc/nginx/tls/cert/$fqdn.pem

fail() {
    echo "$host $fqdn: $*" >&2
    exit 1
}

# 28800 s are a third of the lifetime of one day. With less than that remaining, a renewal was missed.
# shellcheck disable=SC2029  # the path must be expanded on this machine
file=$(ssh "$host" "sudo sh -euc '
    openssl x509 -in $cert -noout -checkend 28800 >&2
    systemctl is-enabled --quiet step@$name.timer
    systemctl is-active --quiet step@$name.timer
    [ ! -e /tmp/$name-provisioner ]
    openssl x509 -in $cert -noout -fingerprint -sha256'" </dev/null) || fail "there is a problem with the pair or its timer"
served=$(openssl s_client -connect "$fqdn:443" -servername "$fqdn" -verify_return_error \
    -CAfile "$MESHFAB_LAB_ROOT" -verify_hostname "$fqdn" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null)
[ "$served" = "$file" ] || fail "the certificate is not served, or another one is"
echo "$host $fqdn: ok"
