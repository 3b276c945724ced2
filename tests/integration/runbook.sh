#!/bin/sh
# runbook.sh NAME: set up the service NAME by hand, as the operators' runbook describes it: a certificate, its renewal
# and a vhost. Run as root on the host, with the provisioner's password in /tmp/NAME-provisioner.
set -eu
name=$1
fqdn=$name.internal
cert=/etc/nginx/tls/cert/$fqdn.pem
key=/etc/nginx/tls/key/$fqdn.pem
root=/etc/pki/ca-trust/source/anchors/root-internal.pem
password=/tmp/$name-provisioner
trap 'rm -f "$password"' EXIT

mkdir -p /etc/nginx/tls/cert /etc/nginx/tls/key
if ! openssl x509 -checkend 0 -noout -in "$cert" 2>/dev/null; then
    step ca certificate --force --provisioner lair --provisioner-password-file "$password" \
        --ca-url https://ca.internal --root "$root" --san "$fqdn" "$fqdn" "$cert" "$key"
fi
if id nginx >/dev/null 2>&1; then user=nginx; else user=www-data; fi
chown root:root "$cert" "$key"
chmod 0644 "$cert"
chmod 0640 "$key"
setfacl -m "u:$user:r" "$key"

cat >/etc/systemd/system/step@.service <<'UNIT'
[Unit]
Description=Certificate renewer for %I
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
User=root
Environment=CERT_LOCATION=/etc/nginx/tls/cert/%i.internal.pem KEY_LOCATION=/etc/nginx/tls/key/%i.internal.pem
ExecCondition=/usr/bin/env step certificate needs-renewal ${CERT_LOCATION}
ExecStart=/usr/bin/env step ca renew --force --ca-url https://ca.internal \
    --root /etc/pki/ca-trust/source/anchors/root-internal.pem ${CERT_LOCATION} ${KEY_LOCATION}
ExecStartPost=/usr/bin/env systemctl reload nginx.service

[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/step@.timer <<'UNIT'
[Unit]
Description=Timer for certificate renewal of %I

[Timer]
Persistent=true
OnCalendar=*:1/15
AccuracySec=1us
RandomizedDelaySec=5m

[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --now "step@$name.timer"

vhost=/etc/nginx/conf.d/$name.conf
if [ -d /etc/nginx/sites-available ]; then vhost=/etc/nginx/sites-available/$name; fi
cat >"$vhost" <<CONF
server {
    listen 443 ssl;
    server_name $fqdn;
    ssl_certificate $cert;
    ssl_certificate_key $key;
    location / {
        return 200 "$name by hand\n";
    }
}
CONF
if [ -d /etc/nginx/sites-available ]; then ln -sf "$vhost" "/etc/nginx/sites-enabled/$name"; fi
nginx -t
systemctl reload nginx
