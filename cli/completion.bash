# SPDX-License-Identifier: ISC
#
# bash completion for smolscale(1).

# Whether words[1..cword-1] have come to the command that is run: sets `at` to its place, or to nothing.
_smolscale_find_command() {
    local i
    at=
    for ((i = 2; i < cword; i++)); do
        case ${words[i]} in
            --)
                at=$((i + 1))
                return
                ;;
            -o | -p | -w | -n | -t | --only | --policy | --workers | --rounds | --timeout | --trace)
                # -n takes a value in compare only
                [[ ${words[1]} == run && ${words[i]} == -n ]] || ((i++))
                # With bash's own way to split words, "--only=x" is three of them.
                [[ ${words[i]} == "=" ]] && ((i++))
                ;;
            -*) ;;
            =) ((i++)) ;;
            *)
                at=$i
                return
                ;;
        esac
    done
}

# The layers not yet named, behind those that are, separated by commas.
_smolscale_layers() {
    local named="" layer
    [[ $cur == *,* ]] && named=${cur%,*},
    for layer in glib uv pthreadpool; do
        [[ ,$named == *,$layer,* ]] || printf '%s%s\n' "$named" "$layer"
    done
}

# Names of files: bash quotes them, and puts a slash behind folders.
_smolscale_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

# Commands and files, but not what only the shell knows: smolscale is no shell.
_smolscale_commands() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <({
        compgen -c -- "$cur" | grep -vxF -f <(compgen -k)
        compgen -f -- "$cur"
    } | sort -u)
}

# The processes that can be looked at.
_smolscale_processes() {
    local page pid runtime=${XDG_RUNTIME_DIR:-/run/user/$UID}
    for page in "$runtime"/smolscale/*-* "/dev/shm/smolscale-$UID"/*-*; do
        pid=${page##*/}
        pid=${pid%%-*}
        # A page may be left by a process that has ended.
        [[ -e $page && -d /proc/$pid && $pid == "$cur"* ]] && COMPREPLY+=("$pid")
    done
}

_smolscale() {
    local cur prev words cword at options
    words=("${COMP_WORDS[@]}")
    cword=$COMP_CWORD
    cur=${words[cword]}
    prev=${words[cword - 1]}
    COMPREPLY=()

    if ((cword == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "run compare doctor report export top options --help --version" -- "$cur")
        return
    fi
    at=
    case ${words[1]} in
        report | export | top) ;;
        *) _smolscale_find_command ;;
    esac
    if [[ -n $at ]] && ((at < cword)); then
        # Inside of the command: what it completes itself, where bash-completion is loaded.
        if declare -F _command_offset >/dev/null; then
            _command_offset "$at"
        else
            _smolscale_files
        fi
        return
    fi

    # "--only=x" may come as one word or, by bash's own way to split words, as three.
    if [[ $cur == "=" ]]; then
        cur=
    elif [[ $prev == "=" ]]; then
        prev=${words[cword - 2]}
    fi
    if [[ ${words[1]} == report || ${words[1]} == export ]] && [[ $prev == -o || $prev == --output ]]; then
        _smolscale_files
        return
    fi
    case $prev in
        -o | --only)
            mapfile -t COMPREPLY < <(compgen -W "$(_smolscale_layers)" -- "$cur")
            compopt -o nospace 2>/dev/null
            return
            ;;
        -p | --policy)
            mapfile -t COMPREPLY < <(compgen -W "strict elastic" -- "$cur")
            return
            ;;
        --stats | --trace)
            _smolscale_files
            return
            ;;
        -t) # a file in run, seconds in compare
            [[ ${words[1]} == run ]] && _smolscale_files
            return
            ;;
        -w | --workers | --rounds | --timeout) return ;;
        -n) [[ ${words[1]} == compare ]] && return ;;
        -d | --delay) [[ ${words[1]} == top ]] && return ;;
        -s | --sort)
            if [[ ${words[1]} == top ]]; then
                mapfile -t COMPREPLY < <(compgen -W "waiting rate mean number" -- "$cur")
                return
            fi
            ;;
    esac

    case ${words[1]} in
        run) options="--only --policy --workers --stats --trace --no-top --dry-run --verbose --help --version" ;;
        compare) options="--only --policy --workers --rounds --timeout --json --help --version" ;;
        report | export) options="--output --help --version" ;;
        top) options="--delay --once --json --sort --help --version" ;;
        doctor | options) options="--help --version" ;;
        *) return ;;
    esac
    if [[ $cur != -* && (${words[1]} == report || ${words[1]} == export) ]]; then
        _smolscale_files
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ ${words[1]} == top ]]; then
        _smolscale_processes
    elif [[ ${words[1]} != options ]]; then
        _smolscale_commands
    fi
}

complete -F _smolscale smolscale
