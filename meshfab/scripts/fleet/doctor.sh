# Read the preconditions of a host that probe.sh does not read. Changes nothing.
# $1 CA URL, $2 its host, $3 its port, $4 root certificate, $5 nginx's user or '', $6 names to resolve,
# $7 openssl's option that checks the CA's name (-verify_hostname or -verify_ip), then folders
# shellcheck shell=sh
set -u
url=$1 ca=$2 port=$3 root=$4 user=$5 names=$6 check=$7
shift 7
step=$(command -v step || command -v step-cli) || step=''
case $ca in *:*) socket="[$ca]:$port" ;; *) socket=$ca:$port ;; esac

# One HTTP request; HTTP/1.0, so that the answer is not chunked and the connection is closed. Not every host has curl.
fetch() {
	path=$1
	shift
	printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$path" "$ca" | SSL_CERT_FILE=/nonexistent SSL_CERT_DIR=/nonexistent \
		timeout 5 openssl s_client -quiet -connect "$socket" -servername "$ca" "$@" 2>/dev/null
}
certificate() {
	timeout 5 openssl s_client -connect "$socket" -servername "$ca" </dev/null 2>/dev/null |
		openssl x509 2>/dev/null | head -c 20000
}
health() {
	[ -n "$step" ] || return
	output=$(timeout 8 "$step" ca health --ca-url "$url" --root "$root" 2>&1)
	put ca.health "$? $output"
}
roots() {
	before=$(date +%s)
	output=$(fetch /roots.pem -verify 9 -verify_return_error -CAfile "$root" "$check" "$ca")
	status=$?
	put ca.named "${output:+yes}"
	# 124 is timeout's status: another request would time out too.
	if [ -z "$output" ] && [ $status != 124 ]; then
		output=$(fetch /roots.pem -verify 9 -verify_return_error -CAfile "$root")
		[ -z "$output" ] || put ca.certificate "$(certificate)"
	fi
	put ca.trusted "${output:+yes}"
	[ -n "$output" ] || [ $status = 124 ] || output=$(fetch /roots.pem)
	put ca.roots "$output"
	put ca.asked "$before $(date +%s)"
}
put step.version "$([ -z "$step" ] || timeout 10 "$step" version 2>&1 | head -n 1)"
put systemd "$(systemctl --version 2>/dev/null | head -n 1)"
[ ! -d /run/systemd/system ] || put systemd.runs yes
put users "$(for one in ${user:-nginx www-data}; do getent passwd "$one" | cut -d: -f1; done)"
health
roots
[ -z "$output" ] || put ca.provisioners "$(fetch '/provisioners?limit=100')"
put resolver "$(head -c 4096 /etc/resolv.conf 2>/dev/null)"
# dnssec-trust-anchors.d(5); the built-in anchors count only where there is no such file.
! systemctl is-active --quiet systemd-resolved.service || put resolver.negative "$(cat \
	/etc/dnssec-trust-anchors.d/*.negative /run/dnssec-trust-anchors.d/*.negative \
	/usr/lib/dnssec-trust-anchors.d/*.negative 2>/dev/null | sed 's/[;#].*//' | head -c 4096)"
put resolved "$(for name in $names; do
	timeout 5 getent ahosts "$name" | awk -v name="$name" '{ print name, $1 }' | sort -u &
done
wait)"
# folder|its nearest existing parent|KiB free|inodes free, or - if the file system does not count them|writable
put folders "$(for folder; do
	there=$folder
	while [ ! -d "$there" ]; do there=${there%/*} there=${there:-/}; done
	room=$(df -Pk -- "$there" | awk 'NR == 2 { print $4 }')
	inodes=$(df -Pi -- "$there" | awk 'NR == 2 { print ($2 + 0) ? $4 : "-" }')
	[ -w "$there" ] && may=yes || may=no
	echo "$folder|$there|$room|$inodes|$may"
done)"
