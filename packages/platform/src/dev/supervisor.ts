/**
 * What is process 1 of a dev container: a script for any POSIX shell that runs the service's command, starts it again when it
 * is told to, and outlives it when it crashes, so that no restart costs a new pod. It needs `sh` and `sleep` of the image;
 * with `setsid`, what the command started itself ends with it. So does what left its group, once it has no other parent than
 * process 1: debugpy's adapter does, and would keep the port from the next process.
 */

/** Of a volume of the pod's: an image's own folders may be read-only. */
export const supervisorFolder = "/.kws";

/** How long the command may take to end before it is killed, in seconds. */
const graceSeconds = 2;

/*
 * A trap runs between two commands of the script, or ends a `wait`. So that none is lost: `again` is looked at once more when
 * the command runs and its number is known, and waiting for a change sleeps for a second at a time. Its own number it asks a
 * child for: of two dollar signs in a container's command, Kubernetes leaves one.
 */
const script = (folder: string) => `
say() { printf 'kws: %s\\n' "$*"; }
signal() { [ -z "$child" ] || kill "-$1" "$group$child" 2>/dev/null; }
finish() {
  [ -n "$child" ] || return 0
  signal TERM
  ( sleep ${graceSeconds}; kill -KILL "$group$child" ) >/dev/null 2>&1 &
  killer=$!
}
reap() {
  for status in /proc/[0-9]*/status; do
    pid= parent=
    while read -r key value _; do
      case "$key" in Pid:) pid=$value ;; PPid:) parent=$value; break ;; esac
    done 2>/dev/null < "$status"
    [ "$parent" != "$own" ] || [ "$pid" = "$killer" ] || kill -KILL "$pid" 2>/dev/null
  done
}
pause() { while [ -z "$again$stop" ]; do sleep 1 & wait $!; done; }
again= stop= child= killer= group=
leader=
if command -v setsid >/dev/null 2>&1; then leader=setsid group=-; fi
trap 'again=1; finish' HUP
trap 'stop=1; finish' TERM INT
sh -c 'echo "$PPID"' > ${folder}/pid
read -r own < ${folder}/pid
if [ "$1" = later ]; then say "waits for the first files"; pause; fi
shift
while [ -z "$stop" ]; do
  again=
  $leader "$@" &
  child=$!
  say "started"
  [ -z "$again$stop" ] || finish
  while :; do
    wait "$child" 2>/dev/null
    code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  [ -z "$killer" ] || kill "$killer" 2>/dev/null
  [ -z "$leader" ] || signal KILL
  reap
  child= killer=
  [ -n "$again$stop" ] || { say "ended with exit code $code; a change starts it again"; pause; }
done
`;

/**
 * The command that runs another one under the script. `later`: the first restart starts it, for a folder whose files are still
 * to come.
 */
export function supervised(
  command: string[],
  begin: "now" | "later",
  folder: string = supervisorFolder,
): string[] {
  return ["sh", "-c", script(folder), "kws-dev", begin, ...command];
}

export type SupervisorEvent = { kind: "waiting" } | { kind: "started" } | { kind: "ended"; exitCode: number };

/** What a line of the container's log says about the command; undefined where the line is the command's own. */
export function readSupervisor(line: string): SupervisorEvent | undefined {
  const [, text = ""] = /^kws: (.*)$/.exec(line) ?? [];
  if (text === "started") return { kind: "started" };
  if (text === "waits for the first files") return { kind: "waiting" };
  const [, code] = /^ended with exit code (\d+);/.exec(text) ?? [];
  return code === undefined ? undefined : { kind: "ended", exitCode: Number(code) };
}
