# Move checked pairs into place: nothing is moved before all of them are written.
# $1 nginx's user, then for each pair: staging folder, certificate, key
# A power cut between the two renames of a pair leaves .new beside the certificate, and the next run or tick completes the
# move. Programs run once for all pairs where they can: a process takes a millisecond or two.
# status_partly_moved: some pairs may be in place, and the others are as they were
# shellcheck shell=sh disable=SC2086,SC2154
# The arguments are paths without blanks.
set -eu
trap '' HUP INT TERM PIPE
user=$1 count=$((($# - 1) / 3)) stages='' new_certs='' new_keys='' folders=' '
shift

each() { # CALLBACK STAGE CERT KEY...: run it for each pair, with stage, cert and key set
	callback=$1
	shift
	while [ $# -ge 3 ]; do
		stage=$1 cert=$2 key=$3 new_cert=${2%/*}/.${2##*/}.new new_key=${3%/*}/.${3##*/}.new
		"$callback" || return
		shift 3
	done
}
collect() {
	stages="$stages $stage" new_certs="$new_certs $new_cert" new_keys="$new_keys $new_key"
	for file in "$cert" "$key"; do
		case $folders in *" ${file%/*} "*) ;; *) folders="$folders${file%/*} " ;; esac
	done
}
write() {
	install -o root -g root -m 0644 -- "$stage/cert" "$new_cert" &&
		install -o root -g root -m 0640 -- "$stage/key" "$new_key"
}
keep() {
	for file in "$cert" "$key"; do
		[ ! -e "$file" ] || ln -f -- "$file" "${file%/*}/.${file##*/}.old" || return
	done
}
move() { mv -fT -- "$new_key" "$key" && mv -fT -- "$new_cert" "$cert"; }
label() { restore_label "$cert" && restore_label "$key"; }

each collect "$@"
trap 'rm -rf -- $stages $new_keys $new_certs' EXIT
# Before anything is written.
id -u -- "$user" >/dev/null
for folder in $folders; do
	[ -d "$folder" ] || install -d -m 0755 -- "$folder"
done
each write "$@"
# After the mode: chmod would set the ACL's mask, and 0600 there makes the entry #effective:---.
setfacl -b -m "u:$user:r" -- $new_keys
# Read back; a mask would show as #effective:
[ "$(getfacl -cp -- $new_keys | grep -cx "user:$user:r--")" = "$count" ] || {
	print_error "setfacl: the file system keeps no ACL in$folders"
	exit 1
}
sync $new_certs $new_keys
each keep "$@"
trap 'rm -rf -- $stages' EXIT
each move "$@" || exit "$status_partly_moved"
each label "$@"
sync $folders
