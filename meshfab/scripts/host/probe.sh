# Read a host's whole state and change nothing. Answers are "<key> <bytes>\n<value>\n" (meshfab/probe.py reads them).
# $1 root certificate, $2 vhost folder or '', then for each service: name fqdn cert key secret files-of-ours
# shellcheck shell=sh
set -u

# has_text KEY FILE: the answer KEY is the text of that file, if there is one. put_texts reads all of them by one process.
keys='' texts=''
has_text() {
	[ ! -f "$2" ] || keys="$keys$1 $2
" texts="$texts $2"
}
put_texts() {
	put keys "$keys"
	# shellcheck disable=SC2086
	[ -z "$texts" ] || put texts "$(grep -aH '' -- $texts 2>/dev/null)"
}

units='/etc/systemd/system/step@.service /etc/systemd/system/step@.timer /usr/local/libexec/meshfab-tick'
root=$1 conf_dir=$2
shift 2

# -v beside -T: the version and the whole configuration by one call. It makes missing log files: with nginx's own mode.
ask_nginx() {
	umask 022
	nginx -v -T 2>&1
}
ask_systemd() {
	state="nginx.service ${more_units-}"
	while [ $# -ge 6 ]; do
		state="$state step@$1.timer step@$1.service"
		shift 6
	done
	# shellcheck disable=SC2086
	show_units $state
}

host() {
	put now "$(date +%s)"
	put addresses "$(hostname -I 2>/dev/null)"
	# step is called step-cli where another program has that name (Fedora, Arch).
	put tools "$(for tool in step step-cli nginx openssl setfacl getfacl flock systemd-run; do
		command -v "$tool"
	done)"
	has_text root "$root"
	[ -e /proc/net/if_inet6 ] || put no-ipv6 yes
	[ ! -d /etc/nginx/sites-available ] || put nginx.sites yes
}

services() {
	files=$units
	stats=''
	while [ $# -ge 6 ]; do
		name=$1 fqdn=$2 cert=$3 key=$4 secret=$5
		files="$files $6"
		shift 6
		stats="$stats $cert $key ${key%/*}"
		has_text "$name/cert" "$cert"
		if [ -f "$key" ]; then
			put "$name/public" "$(openssl pkey -in "$key" -passin pass: -pubout 2>/dev/null)"
			put "$name/acl" "$(getfacl -cpE -- "$key" 2>/dev/null)"
		fi
		has_text "$name/staged" "${cert%/*}/.${cert##*/}.new"
		for file in "$cert" "$key"; do
			file=${file%/*}/.${file##*/}
			if [ -e "$file.old" ] || [ -e "$file.new" ]; then put "$name/leftovers" yes; fi
		done
		if [ -e "$secret" ] || [ -L "$secret" ]; then put "$name/secret" "$secret"; fi
		if [ -d "$secret" ] && [ ! -L "$secret" ]; then put "$name/secret-folder" yes; fi
		for file in "${conf_dir:-/etc/nginx/conf.d}/$fqdn.conf" "/etc/nginx/sites-available/$fqdn.conf" \
			"/etc/nginx/snippets/$fqdn.tls.conf" "/etc/nginx/snippets/$fqdn.mtls.conf"; do
			has_text "$name/vhost:$file" "$file"
			[ ! -e "${file%/*}/.${file##*/}.old" ] || put "$name/leftovers" yes
		done
	done
	# One line a file: name|kind|owner:group|mode. Words split: every path was checked by meshfab/validation.py.
	put_texts
	# shellcheck disable=SC2086
	put digests "$(sha256sum -- $files 2>/dev/null)"
	# shellcheck disable=SC2086
	[ -z "$stats" ] || put stats "$(stat -c '%n|%F|%U:%G|%a' -- $stats $files 2>/dev/null)"
}

end() { # NGINX'S-CONFIGURATION UNITS
	put nginx.conf "$1"
	case $1 in
	*'# configuration file /'*) ;;
	*) # A broken configuration is not dumped, and a mint that heals it must know the user all the same.
		put nginx.user "$(sed -n 's/^[[:space:]]*user[[:space:]]\{1,\}\([A-Za-z0-9_.-]*\).*/\1/p' /etc/nginx/nginx.conf 2>/dev/null)"
		;;
	esac
	put units "$2"
}

if [ -n "${nginx_conf-}" ]; then # the survey has asked already
	host
	services "$@"
	end "$nginx_conf" "${units_shown-$(ask_systemd "$@")}"
else
	# The two slow questions, a third of the time together: asked first, and heard out at the end.
	ask_nginx | {
		exec 3<&0
		ask_systemd "$@" | {
			host </dev/null
			services "$@" </dev/null
			end "$(cat <&3)" "$(cat)"
		}
	}
fi
