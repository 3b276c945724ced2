# Functions that read a host's facts and change nothing; probe.sh and discover.sh call them. An answer has records
# "<key> <bytes>\n<value>\n", which meshfab/host/answer_fields.py parses.
# shellcheck shell=sh

# has_text KEY FILE: the answer KEY is the text of that file, if it exists. put_texts reads all of them with one process.
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

# -v beside -T: the version and the whole configuration with one call. It creates missing log files: with nginx's mode.
# exec: call it in a subshell, $(…) or a pipe, which nginx replaces; dash would fork once more.
read_nginx() {
	umask 022
	exec nginx -v -T 2>&1
}

# read_systemd MORE-UNITS SERVICE...: the units of each service, of which six words are given as for put_services.
read_systemd() {
	units="nginx.service $1"
	shift
	while [ $# -ge 6 ]; do
		units="$units step@$1.timer step@$1.service"
		shift 6
	done
	# shellcheck disable=SC2086
	show_units $units
}

# put_host ROOT: what concerns the whole host.
put_host() {
	put now "$(date +%s)"
	put addresses "$(hostname -I 2>/dev/null)"
	# step is called step-cli where another program has that name (Fedora, Arch).
	# The others are what our scripts and the tick run, and what a minimal system may lack: no process is started for them.
	put tools "$(for tool in step step-cli nginx curl openssl setfacl getfacl flock systemd-run \
		awk cmp find getent grep hostname ip pgrep pkill ps sed sha256sum ss timeout; do
		command -v "$tool"
	done)"
	has_text root "$1"
	[ -e /proc/net/if_inet6 ] || put no-ipv6 yes
	[ ! -d /etc/nginx/sites-available ] || put nginx.sites yes
}

# list_unwritable FILE...: the folders of these files on a file system that is mounted read-only. A folder that is to be
# made counts as the one that it will be made in.
list_unwritable() {
	checked=' '
	for file; do
		folder=${file%/*}
		case $checked in *" $folder "*) continue ;; esac
		checked="$checked$folder "
		there=$folder
		while [ ! -d "${there:-/}" ]; do there=${there%/*}; done
		[ -w "${there:-/}" ] || printf '%s\n' "$folder"
	done
}

# list_generations FILE...: what matters of histories, a row "<name> <line>" for each: certificates that have not expired,
# and the first one of the key in use, which tells the age of the key.
list_generations() {
	# shellcheck disable=SC2016  # awk's own words
	awk -v now="$(date +%s)" '
		pass == 1 { key[FILENAME] = $4; next }
		NF != 6 || $3 > now || ($4 == key[FILENAME] && !(FILENAME in known)) {
			if ($4 == key[FILENAME]) known[FILENAME]
			name = FILENAME
			gsub(/^.*\/|\.history$/, "", name)
			print name, $0
		}' pass=1 "$@" pass=2 "$@" 2>/dev/null
}

# put_services VHOST-FOLDER SERVICE...: the files of each service: name fqdn cert key secret files-of-meshfab
put_services() {
	conf_dir=${1:-/etc/nginx/conf.d}
	files='/etc/systemd/system/step@.service /etc/systemd/system/step@.timer'
	files="$files /usr/local/libexec/meshfab-tick /usr/local/libexec/meshfab-history"
	files="$files /usr/local/libexec/meshfab-notify /etc/systemd/system/meshfab-notify@.service"
	files="$files /etc/systemd/system/meshfab-ping@.service"
	stats='' histories=''
	shift
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
		[ ! -f "/var/lib/meshfab/$name.history" ] || histories="$histories /var/lib/meshfab/$name.history"
		for file in "$cert" "$key"; do
			file=${file%/*}/.${file##*/}
			if [ -e "$file.old" ] || [ -e "$file.new" ]; then put "$name/leftovers" yes; fi
		done
		if [ -e "$secret" ] || [ -L "$secret" ]; then put "$name/secret" "$secret"; fi
		if [ -d "$secret" ] && [ ! -L "$secret" ]; then put "$name/secret-folder" yes; fi
		for file in "$conf_dir/$fqdn.conf" "/etc/nginx/sites-available/$fqdn.conf" \
			"/etc/nginx/snippets/$fqdn.tls.conf" "/etc/nginx/snippets/$fqdn.mtls.conf"; do
			has_text "$name/vhost:$file" "$file"
			[ ! -e "${file%/*}/.${file##*/}.old" ] || put "$name/leftovers" yes
		done
	done
	# One line for each file: name|kind|owner:group|mode. Words split: meshfab/config/validation.py checked every path.
	put_texts
	# shellcheck disable=SC2086
	[ -z "$histories" ] || put histories "$(list_generations $histories)"
	# shellcheck disable=SC2086
	put unwritable "$(list_unwritable "$conf_dir/any" /etc/nginx/sites-available/any \
		/etc/nginx/snippets/any /run/meshfab/any /tmp/any $stats $files)"
	present=''
	# uutils 0.0.30 ends at the first file that is not there.
	for file in $files; do [ ! -f "$file" ] || present="$present $file"; done
	# shellcheck disable=SC2086
	[ -z "$present" ] || put digests "$(sha256sum -- $present 2>/dev/null)"
	# shellcheck disable=SC2086
	[ -z "$stats" ] || put stats "$(stat -c '%n|%F|%U:%G|%a' -- $stats $files 2>/dev/null)"
}

# put_nginx_and_units CONFIGURATION UNITS: the outputs of read_nginx and read_systemd.
put_nginx_and_units() {
	put nginx.conf "$1"
	case $1 in
	*'# configuration file /'*) ;;
	*) # nginx does not print a broken configuration, and a mint that heals it must know the user nevertheless.
		put nginx.user "$(sed -n 's/^[[:space:]]*user[[:space:]]\{1,\}\([A-Za-z0-9_.-]*\).*/\1/p' /etc/nginx/nginx.conf 2>/dev/null)"
		;;
	esac
	put units "$2"
}
