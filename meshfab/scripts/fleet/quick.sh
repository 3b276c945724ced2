# What everybody on the host may read: the states that renewal ticks publish. Needs no rights, starts two programs and changes
# nothing. A state is one line, replaced as a whole.
# shellcheck shell=sh
put now "$(date +%s)"
put addresses "$(hostname -I 2>/dev/null)"
read -r uptime _ </proc/uptime && put uptime "${uptime%.*}"
count=0 names=''
for file in /run/meshfab/state/*.json; do
	[ -f "$file" ] && [ ! -L "$file" ] && [ $((count += 1)) -le 1000 ] || continue
	name=${file##*/} line=''
	name=${name%.json}
	case $name in *[!a-z0-9-]*) continue ;; esac
	{ IFS= read -r line <"$file"; } 2>/dev/null || :
	[ "${#line}" -le 4096 ] || line=too-long
	names="$names$name "
	put "state/$name" "$line"
done
put names "$names"
if [ -r /run/meshfab/state ]; then put readable yes; fi
