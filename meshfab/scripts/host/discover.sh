# Find every service of this host, declared or not, and hand them to probe.sh, which follows. Changes nothing.
# $1 root certificate, $2 vhost folder or '', $3 domain, $4 folder of certificates, $5 folder of keys, $6 'judge' to hear
# what only a judgement needs (the host's own pair, forgotten passwords, what names resolve to), then for each declared
# service the six words that probe.sh takes
# A sweep runs this on every host at once: a process costs a millisecond or two, so the shell does what it can itself.
# shellcheck shell=sh
set -u
root=$1 conf_dir=$2 domain=$3 cert_dir=$4 key_dir=$5 purpose=$6
shift 6

nginx_conf=$(nginx -v -T 2>&1)

# The names of pairs that nginx's configuration mentions: one for each place, after a blank or a quote, no comments.
# nginx prints no configuration that it refuses, as it does when a vhost names a pair that is not there.
case $nginx_conf in
*'# configuration file /'*) text=$nginx_conf ;;
*) text=$(cat -- ${conf_dir:+"$conf_dir"/*.conf} /etc/nginx/nginx.conf /etc/nginx/conf.d/*.conf \
	/etc/nginx/sites-enabled/* 2>/dev/null) ;;
esac
vhosted=''
case $text in
*"$cert_dir/"*)
	# shellcheck disable=SC2016  # awk's own words
	vhosted=$(printf '%s\n' "$text" | awk -v before="$cert_dir/" -v after=".$domain.pem" '
		/^[ \t]*#/ { next }
		{
			while ((at = index($0, before)) > 0) {
				lead = substr($0, at - 1, 1)
				$0 = substr($0, at + length(before))
				if (at > 1 && lead ~ /[ \t"\047]/ && match($0, /^[a-z0-9][a-z0-9-]*/) &&
					index(substr($0, RLENGTH + 1), after) == 1) print substr($0, 1, RLENGTH)
			}
		}')
	;;
esac

declared=' ' at=0
for word; do
	[ $((at % 6)) != 0 ] || declared="$declared$word "
	at=$((at + 1))
done
known=$declared found='' state=nginx.service
[ "$purpose" != judge ] || state="$state step.service"

# note NAME: one more service, if it is a name that a service can have and a new one.
note() {
	case $1 in '' | -* | *[!a-z0-9-]*) return ;; esac
	case "$found " in *" $1 "*) return ;; esac
	found="$found $1"
	case $known in *" $1 "*) return ;; esac
	known="$known$1 "
}
for name in $vhosted; do note "$name"; done
for file in "$cert_dir"/*".$domain.pem" "$key_dir"/*".$domain.pem"; do
	file=${file##*/}
	note "${file%".$domain.pem"}"
done
# Enabled ones by their links, since no command lists a template's instances; active ones by the manager's word.
for file in /etc/systemd/system/*.wants/step@*.timer; do
	file=${file##*/step@}
	note "${file%.timer}"
done
for name in $known; do state="$state step@$name.timer step@$name.service"; done
# shellcheck disable=SC2086
units_shown=$(show_units $state 'step@*.timer')
set -f # what systemd says is no pattern
for name in $units_shown; do
	case $name in Id=step@*.timer) ;; *) continue ;; esac
	name=${name#Id=step@}
	name=${name%.timer}
	case $known in *" $name "*) continue ;; esac
	# Loaded, and neither enabled nor of any file: it counts while it runs, or has failed.
	case $(systemctl is-active "step@$name.timer") in inactive | unknown) continue ;; esac
	note "$name"
	unset units_shown
done
set +f

for name in $found; do
	case $declared in
	*" $name "*) ;;
	*)
		set -- "$@" "$name" "$name.$domain" "$cert_dir/$name.$domain.pem" "$key_dir/$name.$domain.pem" \
			"/tmp/$name-provisioner" "/etc/meshfab/$name.env /etc/systemd/system/step@$name.service.d/meshfab.conf"
		;;
	esac
done
put found "$found"
put vhosted "$vhosted"

# A mint that is under way has a password there by right, and for no longer than the reaper allows.
old() { [ -z "$(find "$1" -maxdepth 0 -newermt '-120 seconds' 2>/dev/null)" ]; }
under_way() { [ -f "/run/meshfab/$1.lock" ] && ! flock -n "/run/meshfab/$1.lock" true; }
for_judgement() {
	secrets=''
	for file in /tmp/*-provisioner /tmp/.*-provisioner /tmp/.meshfab-*; do
		[ -e "$file" ] || [ -L "$file" ] || continue
		name=${file#/tmp/}
		case $name in
		.*) old "$file" ;;
		*) old "$file" || ! under_way "${name%-provisioner}" ;;
		esac && secrets="$secrets$file
"
	done
	put secrets "$secrets"

	# All at once, and none for longer than five seconds: a resolver that is down answers nothing for long.
	resolved=''
	[ "$known" = ' ' ] || resolved=$(for name in $known; do
		timeout 5 getent ahosts "$name.$domain" | while read -r address _; do printf '%s %s\n' "$name" "$address"; done &
	done
	wait)
	put resolved "$resolved"
	for name in $known; do
		[ ! -f "/run/meshfab/$name.failed" ] || put "$name/failed" "$(head -c 2000 "/run/meshfab/$name.failed")"
	done
}

set -- "$root" "$conf_dir" "$@"
more_units=''
if [ "$purpose" = judge ]; then
	for_judgement
	# shellcheck disable=SC2034  # for probe.sh, which follows
	more_units=step.service
	own=$(hostname -f 2>/dev/null || hostname)
	case $own in *[!A-Za-z0-9.-]* | -* | .* | '') own=unknown ;; esac
	put own "$own"
	# The host's own pair is read like a service's; no service has a dot in its name.
	set -- "$@" own.pair "$own" "/etc/pki/tls/misc/$own.pem" "/etc/pki/tls/private/$own.pem" '' ''
fi
