/**
 * The constant shell scripts that turn a process in fresh namespaces into a container. Nothing is ever pasted into them:
 * paths come as arguments, everything else through file descriptor 3, one key line and one value line at a time, with
 * backslashes and newlines as `printf %b` escapes. What goes wrong is written to descriptor 4; the word `started` there
 * means that the next thing is the container's own program. A container that shares its PID namespace says the name of its mount
 * namespace first, by which its processes are known however soon the first of them ends.
 */

/** Where a container sees the tools with which it was made; read-only, and of no use for getting out. */
export const toolsTarget = "/dev/.kws";

const tool = `${toolsTarget}/ld.so --library-path ${toolsTarget}/lib ${toolsTarget}/bin`;

/** The words that start one of the tools inside a container, whatever its image holds. */
export function toolArgv(name: string): string[] {
  return [...tool.split(" ").slice(0, -1), `${toolsTarget}/bin/${name}`];
}

/**
 * Runs with the host's files in view: mounts the root file system and goes into it with pivot_root.
 * Arguments: folder with the mount tables, root, name for the old root, `tty` or `plain`, `nodes` or `binds`, then files
 * of cgroups to join.
 */
const enter = `set -eu
exec 5>&2 2>&4
run=$1 root=$2 old=$3 mode=$4 nodes=$5
shift 5
if [ "\${tell_namespace-}" = yes ]; then echo "namespace $(readlink /proc/self/ns/mnt)" >&4; fi
unset tell_namespace
for file; do echo 0 >"$file" || :; done
umask 022
cd "$run"
mount -n -a -T "$run/fstab.root"
mkdir -m 700 "$root/dev/$old"
cd "$root"
pivot_root . "dev/$old"
exec 2>&5 5>&-
exec ${tool}/sh ${toolsTarget}/populate "$run" "/dev/$old" "$mode" "$nodes"
`;

/** Runs inside the new root with the old one still in reach: devices, volumes, masks; then lets the old root go. */
const populate = `set -eu
exec 5>&2 2>&4
run=$1 old=$2 mode=$3 nodes=$4
tool() { name=$1; shift; ${tool}/$name "$@"; }
cd /
if [ "$nodes" = nodes ]; then
  tool cp -a "$old/dev/null" "$old/dev/zero" "$old/dev/full" "$old/dev/random" "$old/dev/urandom" "$old/dev/tty" "$old$run/dev/." /dev/
else
  tool cp -a "$old$run/dev/." /dev/
fi
if [ "$nodes" = binds ]; then
  for name in chown chgrp; do
    for folder in /bin /usr/bin; do
      if [ -f "$folder/$name" ] && [ ! -L "$folder/$name" ] && [ -x /bin/sh ]; then
        tool mount -n --bind ${toolsTarget}/$name "$folder/$name"
        break
      fi
    done
  done
fi
batch=0
while [ -e "$old$run/fstab.$batch" ]; do
  set --
  while IFS= read -r kind && IFS= read -r path; do
    case $path in *\\\\*) path=$(printf '%b.' "$path"); path=\${path%.} ;; esac
    if [ "$kind" = dir ]; then
      [ -d "$path" ] || set -- "$@" "$path"
    else
      if [ $# -gt 0 ]; then tool mkdir -p -- "$@"; set --; fi
      parent=\${path%/*}
      [ -z "$parent" ] || [ -d "$parent" ] || tool mkdir -p -- "$parent"
      [ -e "$path" ] || : >"$path"
    fi
  done <"$old$run/points.$batch"
  if [ $# -gt 0 ]; then tool mkdir -p -- "$@"; fi
  tool mount -n -a -T "$old$run/fstab.$batch"
  batch=$((batch + 1))
done
if [ -e "$old$run/readonly" ]; then tool mount -n -o remount,bind,ro /; fi
tool umount -n -l "$old"
tool rmdir "$old"
exec 2>&5 5>&-
if [ "$mode" = tty ]; then . ${toolsTarget}/terminal; fi
. ${toolsTarget}/run
`;

/** Puts a pseudo-terminal of the container's own between it and the caller. */
const terminal = `cd /
SHELL=${toolsTarget}/terminal-shell LD_LIBRARY_PATH=${toolsTarget}/lib exec ${tool}/script -qfec run /dev/null
`;

/** What \`script\` takes for its shell. The interpreter line starts sh by the loader, as the image may hold neither. */
const terminalShell = `#!${toolsTarget}/ld.so ${toolsTarget}/bin/sh
unset LD_LIBRARY_PATH SHELL
. ${toolsTarget}/run
`;

/**
 * Words that run what follows as the first process of a new PID namespace and end as it did, with 128 and the signal's number
 * for a signal. unshare's own --fork answers 1 to a child that was killed (util-linux 2.38).
 */
export const inNewPidNamespace = [
  "--pid",
  "sh",
  "-c",
  'exec 6>&2 2>/dev/null; "$@" 2>&6 6>&-; exit $?',
  "sh",
];

/** Reads the process from descriptor 3, looks its program up as execvp would, and becomes it. */
const run = `set -eu
exec 5>&2 2>&4
umask 022
set --
while IFS= read -r _kws_key <&3; do
  [ "$_kws_key" != end ] || break
  IFS= read -r _kws_value <&3
  case $_kws_value in *\\\\*) _kws_value=$(printf '%b.' "$_kws_value"); _kws_value=\${_kws_value%.} ;; esac
  case $_kws_key in
    arg) set -- "$@" "$_kws_value" ;;
    env) export "$_kws_value" ;;
    cwd) [ -d "$_kws_value" ] || ${tool}/mkdir -p -- "$_kws_value"; cd -- "$_kws_value" ;;
    own) ${tool}/chown "$_kws_value" /proc/self/fd/1 /proc/self/fd/5 ;;
    own-stdin) ${tool}/chown "$_kws_value" /proc/self/fd/0 ;;
    program)
      _kws_found=
      case $_kws_value in
        */*)
          if [ ! -e "$_kws_value" ]; then echo "missing" >&4; exit 127; fi
          if [ -f "$_kws_value" ] && [ -x "$_kws_value" ]; then _kws_found=1; fi
          if [ -z "$_kws_found" ]; then echo "denied" >&4; exit 126; fi ;;
        *)
          _kws_rest=$PATH:
          while [ -n "$_kws_rest" ]; do
            _kws_dir=\${_kws_rest%%:*} _kws_rest=\${_kws_rest#*:}
            if [ -f "\${_kws_dir:-.}/$_kws_value" ] && [ -x "\${_kws_dir:-.}/$_kws_value" ]; then _kws_found=1; break; fi
          done
          if [ -z "$_kws_found" ]; then echo "not in path" >&4; exit 127; fi ;;
      esac ;;
  esac
done
unset PWD OLDPWD SHLVL
echo started >&4
exec 2>&5 3<&- 4>&- 5>&-
exec "$@"
`;

/**
 * In front of an image's own `chown` and `chgrp` where one user alone is mapped: there every file belongs to whichever
 * user a container runs as, so that another owner is neither possible (EINVAL) nor needed. Other errors stay errors.
 */
const owner = (name: "chown" | "chgrp"): string => `#!/bin/sh
exec 3>&1
if errors=$(LC_ALL=C ${tool}/${name} "$@" 2>&1 >&3); then exit 0; else code=$?; fi
refused=
while IFS= read -r line; do
  case $line in *": Invalid argument") ;; *) refused=1; printf '%s\\n' "$line" >&2 ;; esac
done <<_kws_end
$errors
_kws_end
[ -z "$refused" ] || exit "$code"
`;

/** File name to content, for the folder of tools. */
export const scripts: Readonly<Record<string, string>> = {
  enter,
  populate,
  terminal,
  "terminal-shell": terminalShell,
  run,
  chown: owner("chown"),
  chgrp: owner("chgrp"),
};
