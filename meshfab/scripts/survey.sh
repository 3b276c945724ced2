# Find every service of this host, declared or not, and hand them to probe.sh, which follows. Changes nothing.
# $1 root certificate, $2 vhost folder or '', $3 domain, $4 folder of certificates, $5 folder of keys, then for each
# declared service the six words that probe.sh takes
# shellcheck shell=sh
set -u
root=$1 conf_dir=$2 domain=$3 cert_dir=$4 key_dir=$5
shift 5

own=$(hostname -f 2>/dev/null || hostname)
case $own in *[!A-Za-z0-9.-]* | -* | .* | '') own=unknown ;; esac
nginx_conf=$(nginx -v -T 2>&1)

# nginx prints no configuration that it refuses, as it does when a vhost names a pair that is not there.
configuration() {
	case $nginx_conf in
	*'# configuration file /'*) printf '%s\n' "$nginx_conf" ;;
	*) cat -- ${conf_dir:+"$conf_dir"/*.conf} /etc/nginx/nginx.conf /etc/nginx/conf.d/*.conf \
		/etc/nginx/sites-enabled/* 2>/dev/null ;;
	esac
}
plain() { printf %s "$1" | sed 's/[.+]/[&]/g'; } # a path or a domain, for sed
named_by() { sed -n "s#$1\([a-z0-9][a-z0-9-]*\)$2#\1#p"; } # what stands between two patterns

end="[.]$(plain "$domain")[.]pem"
vhosted=$(configuration | sed 's/^[[:space:]]*#.*//' | tr ';' '\n' | named_by ".*[[:space:]\"']$(plain "$cert_dir")/" "$end.*")
found=$({
	printf '%s\n' "$vhosted"
	{ ls -- "$cert_dir"; ls -- "$key_dir"; } 2>/dev/null | named_by '^' "$end\$"
	# Active ones by the manager's word; enabled ones by their links, since no command lists a template's instances.
	{
		systemctl list-units --plain --no-legend 'step@*.timer'
		ls /etc/systemd/system/*.wants
	} 2>/dev/null | named_by '^step@' '[.]timer.*'
} | sort -u)

declared=' ' at=0
for word; do
	[ $((at % 6)) != 0 ] || declared="$declared$word "
	at=$((at + 1))
done
for name in $found; do
	case $declared in
	*" $name "*) ;;
	*)
		set -- "$@" "$name" "$name.$domain" "$cert_dir/$name.$domain.pem" "$key_dir/$name.$domain.pem" \
			"/tmp/$name-provisioner" "/etc/meshfab/$name.env /etc/systemd/system/step@$name.service.d/meshfab.conf"
		declared="$declared$name "
		;;
	esac
done
put own "$own"
put found "$found"
put vhosted "$vhosted"

# A mint that is under way has a password there by right, and for no longer than the reaper allows.
old() { [ -z "$(find "$1" -maxdepth 0 -newermt '-120 seconds' 2>/dev/null)" ]; }
under_way() { [ -f "/run/meshfab/$1.lock" ] && ! flock -n "/run/meshfab/$1.lock" true; }
put secrets "$(find /tmp -maxdepth 1 \( -name '*-provisioner' -o -name '.meshfab-*' \) 2>/dev/null | while read -r file; do
	name=${file#/tmp/}
	case $name in
	.*) old "$file" ;;
	*) old "$file" || ! under_way "${name%-provisioner}" ;;
	esac && printf '%s\n' "$file"
done)"

# All at once, and none for longer than five seconds: a resolver that is down answers nothing for long.
put resolved "$(for name in $declared; do
	timeout 5 getent ahosts "$name.$domain" | awk -v name="$name" '{ print name, $1 }' | sort -u &
done
wait)"
for name in $declared; do
	[ ! -f "/run/meshfab/$name.failed" ] || put "$name/failed" "$(head -c 2000 "/run/meshfab/$name.failed")"
done

# The host's own pair is read like a service's; no service has a dot in its name.
set -- "$root" "$conf_dir" "$@" own.pair "$own" "/etc/pki/tls/misc/$own.pem" "/etc/pki/tls/private/$own.pem" '' ''
# shellcheck disable=SC2034  # for probe.sh
more_units=step.service
