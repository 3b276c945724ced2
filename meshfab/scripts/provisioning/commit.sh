# Move a checked pair into place. $1 staging folder, $2 certificate, $3 key, $4 nginx's user
# A power cut between the two renames leaves .new beside the certificate, and the next run or tick completes the move.
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
stage=$1 cert=$2 key=$3 user=$4
new_cert=${cert%/*}/.${cert##*/}.new new_key=${key%/*}/.${key##*/}.new
trap 'rm -rf -- "$stage" "$new_key" "$new_cert"' EXIT
id -u -- "$user" >/dev/null
{ [ -d "${cert%/*}" ] && [ -d "${key%/*}" ]; } || install -d -m 0755 -- "${cert%/*}" "${key%/*}"
install -o root -g root -m 0644 -- "$stage/cert" "$new_cert"
install -o root -g root -m 0640 -- "$stage/key" "$new_key"
# After the mode: chmod would set the ACL's mask, and 0600 there makes the entry #effective:---.
setfacl -b -m "u:$user:r" -- "$new_key"
case $(getfacl -cp -- "$new_key") in # read back; a mask would show as #effective:
*"
user:$user:r--
"*) ;;
*)
	print_error "setfacl: the file system keeps no ACL on $new_key"
	exit 1
	;;
esac
sync "$new_cert" "$new_key"
for file in "$cert" "$key"; do
	[ ! -e "$file" ] || ln -f -- "$file" "${file%/*}/.${file##*/}.old"
done
trap 'rm -rf -- "$stage"' EXIT
mv -fT -- "$new_key" "$key"
mv -fT -- "$new_cert" "$cert"
! command -v restorecon >/dev/null || restorecon "$cert" "$key"
sync "${cert%/*}" "${key%/*}"
