# Make a key and a certificate request (CSR) for each service, in its staging folder, and print the requests, with the
# functions of facts.sh. For each service: name, staging folder, subject, its names as OpenSSL's subjectAltName
# shellcheck shell=sh disable=SC2086
# The folders are paths without blanks.
set -eu
old='' folders='' running='' count=0
each() { # CALLBACK NAME FOLDER SUBJECT NAMES...
	callback=$1
	shift
	while [ $# -ge 4 ]; do
		"$callback" "$1" "$2" "$3" "$4"
		shift 4
	done
}
collect() {
	folders="$folders $2"
	[ ! -e "$2" ] || old="$old $2"
}
make() {
	# A configuration of our own: that of the host could add extensions. One process makes the key and the request.
	printf '[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\nsubjectAltName=%s\n' "$4" >"$2/config"
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "$3" -config "$2/config" \
		-keyout "$2/key" -out "$2/request" 2>"$2/output" &
	# Four at a time, for the host's other processors.
	running="$running $!" count=$((count + 1))
	[ $((count % 4)) != 0 ] || finish
}
finish() {
	[ -z "$running" ] || wait $running || : # an error is noticed below
	running=''
}
print() {
	[ -s "$2/request" ] || {
		print_error "openssl req: $(tail -n 1 "$2/output")"
		exit 1
	}
	has_text "$1/request" "$2/request"
}
each collect "$@"
[ -z "$old" ] || rm -rf -- $old
mkdir -m 0700 -- $folders
each make "$@"
finish
each print "$@"
put_texts
