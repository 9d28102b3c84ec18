/**
 * Lets go of the descriptors that this process was started with, beyond the standard ones. What a shell or a test runner left
 * open would be open in every container too, and a folder of the machine among them is a way out of the container.
 */
import { closeSync, readdirSync, readFileSync } from "node:fs";

/** Of open(2), as /proc/<pid>/fdinfo shows it: Node's own descriptors have it, inherited ones cannot. */
const closeOnExec = 0o2000000;

export function closeInheritedDescriptors(): void {
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (fd > 2 && survivesExec(fd)) closeSync(fd);
  }
}

function survivesExec(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch {
    return false; // The one that read the folder is closed by now.
  }
}
