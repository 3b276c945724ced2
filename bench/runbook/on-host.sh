# The part of tight.sh that runs on the host. tight.sh sets `name` and defines a function that prints each file.
# shellcheck shell=sh disable=SC2154
set -eu
umask 022
fqdn=$name.internal
cert=/etc/nginx/tls/cert/$fqdn.pem
key=/etc/nginx/tls/key/$fqdn.pem
secret=/tmp/$name-provisioner
file=/etc/nginx/conf.d/$fqdn.conf

if ! openssl x509 -checkend 0 -noout -in "$cert" >/dev/null 2>&1; then
    trap 'rm -f "$secret"' EXIT
    rm -f "$secret"
    (umask 077 && password >"$secret")
    mkdir -p "${cert%/*}" "${key%/*}"
    step ca certificate --force --provisioner lair --provisioner-password-file "$secret" --ca-url https://ca.internal \
        --root /etc/pki/ca-trust/source/anchors/root-internal.pem --san "$fqdn" "$fqdn" "$cert" "$key" </dev/null
    rm -f "$secret"
    chmod 0644 "$cert"
    chmod 0640 "$key"
    user=nginx
    id nginx >/dev/null 2>&1 || user=www-data
    setfacl -m "u:$user:r" "$key"
fi

changed() { # FILE: write standard input to FILE; succeeds if the content of FILE was different
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then
        rm "$1.new"
        return 1
    fi
    mv "$1.new" "$1"
}
units=
if service | changed /etc/systemd/system/step@.service; then units=changed; fi
if timer | changed /etc/systemd/system/step@.timer; then units=changed; fi
[ -z "$units" ] || systemctl daemon-reload
if ! systemctl is-enabled --quiet "step@$name.timer" || ! systemctl is-active --quiet "step@$name.timer"; then
    systemctl --quiet enable --now "step@$name.timer"
fi

if vhost | sed "s/NAME/$name/g" | changed "$file"; then
    nginx -t 2>/dev/null || {
        rm "$file"
        exit 1
    }
    systemctl reload nginx
fi
