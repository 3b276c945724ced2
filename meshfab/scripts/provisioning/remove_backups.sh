# Remove the kept old files, and the files of an interrupted run. Every argument is the path of a file.
# shellcheck shell=sh
count=$#
for file in "$@"; do
	file=${file%/*}/.${file##*/}
	set -- "$@" "$file.old" "$file.new" "$file.prev" "$file.tick" # the last two are a tick's (meshfab-tick)
done
shift "$count"
rm -f -- "$@"
