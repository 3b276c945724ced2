#!/bin/sh
# check.sh HOST NAME: is the certificate in date, its timer alive, the password gone, and does a client get that leaf?
# An ssh for what is on the host, and a TLS client from here. Exit status 0, or 1 with a line that says what is wrong.
set -u
host=$1 name=$2
fqdn=$name.internal
cert=/etc/nginx/tls/cert/$fqdn.pem

fail() {
    echo "$host $fqdn: $*" >&2
    exit 1
}

# shellcheck disable=SC2029  # the path is to be expanded here
# Under a third of its day left: a renewal was missed.
file=$(ssh "$host" "sudo sh -euc '
    openssl x509 -in $cert -noout -checkend 28800 >&2
    systemctl is-enabled --quiet step@$name.timer
    systemctl is-active --quiet step@$name.timer
    [ ! -e /tmp/$name-provisioner ]
    openssl x509 -in $cert -noout -fingerprint -sha256'" </dev/null) || fail "the pair or its timer is not as it should be"
served=$(openssl s_client -connect "$fqdn:443" -servername "$fqdn" -verify_return_error \
    -CAfile "$MESHFAB_LAB_ROOT" -verify_hostname "$fqdn" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 2>/dev/null)
[ "$served" = "$file" ] || fail "it is not served, or another leaf is"
echo "$host $fqdn: ok"
