# Record certificates that are in place, keep those that they replaced until these expire, and print why that is not
# possible. Nothing depends on it: the next tick records what is missing, also where the program is not installed yet.
# The state that ticks publish says so too, until the first tick.
# For each certificate: the service's name, its line, its path.
# shellcheck shell=sh
program=/usr/local/libexec/meshfab-history

keep() { # NAME CERT: without the certificate itself, its serial is only this host's word
	old=${2%/*}/.${2##*/}.old past=/var/lib/meshfab/$1.past
	[ -e "$old" ] || return 0
	openssl x509 -in "$old" -noout -checkend 0 >/dev/null 2>&1 || return 0
	serial=$(openssl x509 -in "$old" -noout -serial) || return
	mkdir -p "$past" && cp "$old" "$past/.new" && mv -fT "$past/.new" "$past/${serial#serial=}.pem"
}

publish() { # NAME LINE: with the settings of the ticks; a tick of before this option refuses it
	(
		while read -r line; do
			case $line in MESHFAB_[A-Z]*=*) export "${line?}" ;; esac
		done <"/etc/meshfab/$1.env"
		/usr/local/libexec/meshfab-tick --publish "$1" "${2%% *}"
	) >/dev/null 2>&1
}

if [ -x "$program" ]; then
	count=$#
	while [ "$count" -ge 3 ]; do
		keep "$1" "$3" 2>&1
		set -- "$@" "$1" "$2"
		shift 3
		count=$((count - 3))
	done
	# Once for all: a process takes a millisecond or two.
	"$program" add "$@" 2>&1
	while [ $# -ge 2 ]; do
		publish "$1" "$2"
		shift 2
	done
fi
:
