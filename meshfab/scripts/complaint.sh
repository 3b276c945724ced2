# What nginx's master wrote into its error log in the last seconds, when it did not take a configuration up.
# $1 the log, $2 seconds
# shellcheck shell=sh
since=$(date -d "-$2 seconds" '+%Y/%m/%d %H:%M:%S')
tail -n 200 -- "$1" 2>/dev/null | awk -v since="$since" '/\[emerg\]/ && $1 " " $2 >= since' | tail -n 1
