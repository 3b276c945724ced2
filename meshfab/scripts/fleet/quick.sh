# What everybody on the host may read: the states that renewal ticks publish. Needs no rights, starts two programs and changes
# nothing. A state is one line, replaced as a whole.
# shellcheck shell=sh
put now "$(date +%s)"
put addresses "$(hostname -I 2>/dev/null)"
read -r uptime _ </proc/uptime && put uptime "${uptime%.*}"
count=0 names=''
for file in /run/meshfab/state/*.json; do
	[ $((count += 1)) -le 1000 ] || break
	name=${file##*/} line=''
	name=${name%.json}
	case $name in *[!a-z0-9-]*) continue ;; esac
	# A pipe would keep us waiting, and a link leads anywhere: either is a state that cannot be read.
	if [ -f "$file" ] && [ ! -L "$file" ]; then { IFS= read -r line <"$file"; } 2>/dev/null || :; fi
	[ "${#line}" -le 4096 ] || line=too-long
	names="$names$name "
	put "state/$name" "$line"
done
put names "$names"
if [ -r /run/meshfab/state ]; then put readable yes; fi
