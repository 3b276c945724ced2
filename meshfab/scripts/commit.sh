# Move a checked pair in. $1 staging folder, $2 certificate, $3 key, $4 nginx's user
# A power cut between the two renames leaves .new beside the certificate, and the next run or tick finishes the move.
# shellcheck shell=sh
set -eu
trap '' HUP INT TERM PIPE
stage=$1 cert=$2 key=$3 user=$4
new_cert=${cert%/*}/.${cert##*/}.new new_key=${key%/*}/.${key##*/}.new
trap 'rm -rf -- "$stage" "$new_key" "$new_cert"' EXIT
for folder in "${cert%/*}" "${key%/*}"; do
	[ -d "$folder" ] || install -d -m 0755 -- "$folder"
done
cp -- "$stage/cert" "$new_cert"
cp -- "$stage/key" "$new_key"
chown root:root -- "$new_cert" "$new_key"
chmod 0644 -- "$new_cert"
# chmod after setfacl would set the ACL's mask, and 0600 there makes the entry #effective:---.
chmod 0640 -- "$new_key"
setfacl -b -m "u:$user:r" -- "$new_key"
sync "$new_cert" "$new_key"
for file in "$cert" "$key"; do
	rm -f -- "${file%/*}/.${file##*/}.old"
	[ ! -e "$file" ] || ln -- "$file" "${file%/*}/.${file##*/}.old"
done
trap 'rm -rf -- "$stage"' EXIT
mv -fT -- "$new_key" "$key"
mv -fT -- "$new_cert" "$cert"
! command -v restorecon >/dev/null || restorecon "$cert" "$key"
sync "${cert%/*}" "${key%/*}"
