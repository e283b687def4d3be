# bash completion of meshctl(1).  Commands and options come from `meshctl commands`, so they are always
# those of the installed program.

_meshctl_commands() {
	"${COMP_WORDS[0]}" commands 2>/dev/null
}

# The words of the command line so far that are neither options nor their values.
_meshctl_command() {
	local i word
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-s | -c | --socket | --config | --color | --timeout) ((i++)) ;;
		-*) ;;
		*) printf '%s ' "$word" ;;
		esac
	done
}

_meshctl_nodes() {
	"${COMP_WORDS[0]}" nodes 2>/dev/null | sed '1d; s/ .*//'
}

_meshctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local table words first second
	COMPREPLY=()
	case $prev in
	--color)
		mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$cur")
		return
		;;
	--wait)
		mapfile -t COMPREPLY < <(compgen -W "committed quorum all none" -- "$cur")
		return
		;;
	--allow-join)
		mapfile -t COMPREPLY < <(compgen -W "nobody certificate token" -- "$cur")
		return
		;;
	--contact | --node | --add | --remove)
		mapfile -t COMPREPLY < <(compgen -W "$(_meshctl_nodes)" -- "$cur")
		return
		;;
	--file | --token-file | --out | --dir | --config | --socket | --resume-file | --parent | --from | -c | -s)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	table=$(_meshctl_commands)
	read -r first second _ <<<"$(_meshctl_command)"
	if [[ $cur == -* ]]; then
		words=$(sed -n "s/^${first:-status}:\(.*\)/\1/p; s/^$first $second:\(.*\)/\1/p" <<<"$table")
	elif [[ -z $first ]]; then
		words=$(sed 's/[ :].*//' <<<"$table" | sort -u)
	elif [[ -z $second ]]; then
		words=$(sed -n "s/^$first \([a-z-]*\):.*/\1/p" <<<"$table")
	fi
	if [[ $cur != -* && ($first == link || "$first $second" == "raft transfer") && -n $second ||
		$cur != -* && ($first == evict || $first == readmit) ]]; then
		words=$(_meshctl_nodes)
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	if [[ "$first $second" == "update follow" && $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "mesh node db" -- "$cur")
		return
	fi
	# Arguments of commands that take files and directories.
	if [[ ${#COMPREPLY[@]} -eq 0 && -n $first && $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

complete -o filenames -F _meshctl meshctl
