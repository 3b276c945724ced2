# Drop what was kept of old files, and what an interrupted run left half made. Every word is a file's place.
# shellcheck shell=sh
for file in "$@"; do
	rm -f -- "${file%/*}/.${file##*/}.old" "${file%/*}/.${file##*/}.new"
done
