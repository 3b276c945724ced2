# Find every service of this host, declared or not, and read the host's facts with the functions of facts.sh. Changes
# nothing.
# $1 root certificate, $2 vhost folder or '', $3 domain, $4 folder of certificates, $5 folder of keys, $6 'judge' to get
# what only an evaluation needs (the host's own pair, forgotten passwords, what names resolve to), $7 and $8 certificate
# and key of the host's own pair with {hostname} for its name, or '' if it has none; then six words for each declared
# service, as for put_services
# check-certs runs this on every host: a process takes a millisecond or two, so the shell does what it can itself.
# shellcheck shell=sh
set -u
root=$1 conf_dir=$2 domain=$3 cert_dir=$4 key_dir=$5 purpose=$6 own_cert=$7 own_key=$8
shift 8

nginx_conf=$(read_nginx)

# The names of pairs in nginx's configuration, after a blank or a quote, without comments. nginx does not print a
# configuration that it refuses, such as one whose vhost names a missing pair.
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

# note NAME: one more service, if the name is valid and new.
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
# Enabled timers by their links, since no command lists a template's instances; active ones from the manager.
for file in /etc/systemd/system/*.wants/step@*.timer; do
	file=${file##*/step@}
	note "${file%.timer}"
done
for name in $known; do state="$state step@$name.timer step@$name.service"; done
# shellcheck disable=SC2086
units_shown=$(show_units $state 'step@*.timer') is_complete=yes
set -f # the output of systemd is not a pattern
for name in $units_shown; do
	case $name in Id=step@*.timer) ;; *) continue ;; esac
	name=${name#Id=step@}
	name=${name%.timer}
	case $known in *" $name "*) continue ;; esac
	# Loaded, but not enabled and without files: it counts while it runs, or if it has failed.
	case $(systemctl is-active "step@$name.timer") in inactive | unknown) continue ;; esac
	note "$name"
	is_complete=no
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

# While a mint is in progress its password is there legitimately, but no longer than the reaper allows.
old() { [ -z "$(find "$1" -maxdepth 0 -newermt '-120 seconds' 2>/dev/null)" ]; }
under_way() { [ -f "/run/meshfab/$1.lock" ] && ! flock -n "/run/meshfab/$1.lock" true; }
# Files and folders of root that have exactly the names that put_password.sh gives. Anybody may put any name into /tmp,
# also one with a newline, and a link or a FIFO.
root_secrets() {
	for file in /tmp/*-provisioner /tmp/.meshfab-*; do
		[ -e "$file" ] || continue
		find /tmp -maxdepth 1 -uid 0 \
			\( -type f -name '[a-z0-9]*-provisioner' ! -name '*[!a-z0-9-]*' -o \
			-type d -name '.meshfab-????????????????' ! -name '.meshfab-*[!0-9a-f]*' \) 2>/dev/null | head -n 100
		return
	done
}
for_judgement() {
	secrets=''
	for file in $(root_secrets); do
		name=${file#/tmp/}
		case $name in
		.*) old "$file" ;;
		*) old "$file" || ! under_way "${name%-provisioner}" ;;
		esac && secrets="$secrets$file
"
	done
	put secrets "$secrets"

	# All at the same time, and five seconds at most: a resolver that is down does not answer for a long time.
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

of_host() { printf '%s\n' "${1%%"{hostname}"*}$own${1#*"{hostname}"}"; } # PATTERN
more_units=''
if [ "$purpose" = judge ]; then
	for_judgement
	more_units=step.service
	own=$(hostname -f 2>/dev/null || hostname)
	case $own in *[!A-Za-z0-9.-]* | -* | .* | '') own=unknown ;; esac
	put own "$own"
	# The host's own pair is read like a service's; no service has a dot in its name.
	[ -z "$own_cert" ] || set -- "$@" own.pair "$own" "$(of_host "$own_cert")" "$(of_host "$own_key")" '' ''
fi
[ $is_complete = yes ] || units_shown=$(read_systemd "$more_units" "$@")
put_host "$root"
put_services "$conf_dir" "$@"
put_nginx_and_units "$nginx_conf" "$units_shown"
