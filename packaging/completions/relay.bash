# SPDX-License-Identifier: Apache-2.0
# Completion of relay(1) for bash: commands, options, what an option takes. All of it is asked of the program's own help, which
# takes it a millisecond, so it fits the version that is installed. Needs bash alone, not the bash-completion package.

# The lines of its help: one an option, "--name METAVAR what it does (choices; default)"; unwrapped.
_relay_options() {
  local line option=
  while IFS= read -r line; do
    if [[ $line =~ ^\ \ (--[a-z].*)$ ]]; then
      [[ -n $option ]] && printf '%s\n' "$option"
      option=${BASH_REMATCH[1]}
    elif [[ -n $option && $line =~ ^\ {6,}([^\ ].*)$ ]]; then
      option+=" ${BASH_REMATCH[1]}"
    elif [[ -n $option ]]; then
      printf '%s\n' "$option"
      option=
    fi
  done < <("$1" help "$2" 2>/dev/null)
  [[ -n $option ]] && printf '%s\n' "$option"
}

_relay_commands() {
  local line at=
  while IFS= read -r line; do
    [[ $line == Commands: ]] && at=1 && continue
    [[ -n $at && $line =~ ^\ \ ([a-z]+)\ \ + ]] || { at=; continue; }
    printf '%s\n' "${BASH_REMATCH[1]}"
  done < <("$1" help 2>/dev/null)
}

_relay_files() {
  compopt -o filenames 2>/dev/null
  local path
  while IFS= read -r path; do
    [[ -d $path || $path == *.toml || $path == *.env || $path == *.conf ]] && COMPREPLY+=("$path")
  done < <(compgen -f -- "$1")
}

# What the option $3 of command $2 takes, as far as $4 is written.
_relay_values() {
  local line
  while IFS= read -r line; do
    [[ $line == "$3 "* ]] || continue
    if [[ $line =~ \(([a-z0-9.-]+(\|[a-z0-9.-]+)+)[\;\)] ]]; then
      mapfile -t COMPREPLY < <(compgen -W "${BASH_REMATCH[1]//|/ }" -- "$4")
    elif [[ $line == "$3 [BOOL]"* ]]; then
      mapfile -t COMPREPLY < <(compgen -W 'true false' -- "$4")
    elif [[ $line == "$3 FILE"* ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$4")
    elif [[ $line == "$3 DIR"* ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$4")
    elif [[ $line == "$3 HOST:PORT"* ]]; then
      compopt -o nospace 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -A hostname -- "$4")
    fi
    return
  done < <(_relay_options "$1" "$2")
}

_relay() {
  local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]-} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  [[ $command == -c || $command == --config ]] && command=run
  # bash splits --key=value at the "=".
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD-2]}
  fi
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$(_relay_commands "$program") --help --version" -- "$current")
  elif [[ $command == help ]]; then
    ((COMP_CWORD == 2)) && mapfile -t COMPREPLY < <(compgen -W "$(_relay_commands "$program")" -- "$current")
  elif [[ $previous == -c || $previous == --config ]]; then
    _relay_files "$current"
  elif [[ $current != -* && $previous == --* ]]; then
    _relay_values "$program" "$command" "$previous" "$current"
  else
    local options
    options=$(_relay_options "$program" "$command" | sed 's/^\(--[a-zA-Z-]*\).*/\1/')
    [[ $("$program" help "$command" 2>/dev/null) == *' -c FILE'* ]] && options+=$'\n-c\n--config'
    mapfile -t COMPREPLY < <(compgen -W "$options --help" -- "$current")
  fi
}

complete -F _relay relay
