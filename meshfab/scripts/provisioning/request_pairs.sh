# Make a key and a certificate request (CSR) for each service, in its staging folder, and print the requests.
# For each service: name, staging folder, subject, its names as OpenSSL's subjectAltName
# shellcheck shell=sh
set -eu
while [ $# -ge 4 ]; do
	[ ! -e "$2" ] || rm -rf -- "$2"
	mkdir -m 0700 -- "$2"
	# A configuration of our own: that of the host could add extensions. One process makes the key and the request.
	printf '[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\nsubjectAltName=%s\n' "$4" >"$2/config"
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "$3" -config "$2/config" \
		-keyout "$2/key" -out "$2/request" 2>"$2/output" || {
		print_error "openssl req: $(tail -n 1 "$2/output")"
		exit 1
	}
	put "$1/request" "$(cat "$2/request")"
	shift 4
done
