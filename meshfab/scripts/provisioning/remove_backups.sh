# Drop what was kept of old files, and what an interrupted run left half made. Every word is a file's place.
# shellcheck shell=sh
count=$#
for file in "$@"; do
	file=${file%/*}/.${file##*/}
	set -- "$@" "$file.old" "$file.new" "$file.prev" "$file.tick" # the last two are a tick's (meshfab-tick)
done
shift "$count"
rm -f -- "$@"
