/** Programs that tests compare with where the machine has them. */
import { exec } from "@kws/base/exec";

export async function isInstalled(program: string): Promise<boolean> {
  return (await exec("which", [program], { env: { PATH: process.env.PATH } })).exitCode === 0;
}
