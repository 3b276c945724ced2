#!/bin/sh
# provision.sh HOST NAME: the runbook as a simple script, with one ssh for each step. It skips the steps that are done.
# If MULTIPLEX is set, all ssh processes share one connection, and this script closes it at the end.
set -eu
host=$1 name=$2
here=${0%/*}
fqdn=$name.internal
cert=/etc/nginx/tls/cert/$fqdn.pem
key=/etc/nginx/tls/key/$fqdn.pem
secret=/tmp/$name-provisioner
root=/etc/pki/ca-trust/source/anchors/root-internal.pem
vhost=/etc/nginx/conf.d/$fqdn.conf

work=$(mktemp -d)
socket=$work/%C
on() { # COMMAND: run COMMAND as root on the host
    if [ -n "${MULTIPLEX-}" ]; then
        ssh -o ControlMaster=auto -o ControlPersist=60 -o ControlPath="$socket" "$host" sudo sh -euc "'$1'"
    else
        ssh "$host" sudo sh -euc "'$1'"
    fi
}
sent=
clean() {
    [ -z "$sent" ] || on "rm -f $secret" </dev/null
    if [ -n "${MULTIPLEX-}" ]; then ssh -o ControlPath="$socket" -O exit "$host" 2>/dev/null || :; fi
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

# The pair, unless there is a valid one.
if ! on "openssl x509 -checkend 0 -noout -in $cert" </dev/null >/dev/null 2>&1; then
    sent=yes
    on "umask 077; rm -f $secret; cat >$secret" <"$HOME/.step/secrets/provisioner"
    on "mkdir -p ${cert%/*} ${key%/*}
        step ca certificate --force --provisioner lair --provisioner-password-file $secret --ca-url https://ca.internal \
            --root $root --san $fqdn $fqdn $cert $key
        chmod 0644 $cert
        chmod 0640 $key
        user=nginx; id nginx >/dev/null 2>&1 || user=www-data
        setfacl -m u:\$user:r $key" </dev/null >/dev/null
    on "rm -f $secret" </dev/null
    sent=
fi

# The renewal: the units in one archive. systemd reloads its configuration only if they differ from the old ones.
tar -C "$here" -cf "$work/units.tar" step@.service step@.timer
on "cd /etc/systemd/system
    was=\$(cat step@.service step@.timer 2>/dev/null || :)
    tar --no-same-owner -xf -
    [ \"\$was\" = \"\$(cat step@.service step@.timer)\" ] || systemctl daemon-reload" <"$work/units.tar"
on "systemctl is-enabled --quiet step@$name.timer && systemctl is-active --quiet step@$name.timer ||
    systemctl --quiet enable --now step@$name.timer" </dev/null

# The vhost. nginx is reloaded if the file changed; if nginx rejects the file, it is removed.
sed "s/NAME/$name/g" "$here/vhost.conf" >"$work/vhost.conf"
on "cat >$vhost.new
    if cmp -s $vhost.new $vhost; then rm $vhost.new; exit; fi
    mv $vhost.new $vhost
    nginx -t 2>/dev/null || { rm $vhost; exit 1; }
    systemctl reload nginx" <"$work/vhost.conf"
