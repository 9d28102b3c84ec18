/** Tar archives written byte by byte, for tests of what a library would refuse to write. */

export interface RawEntry {
  name: string;
  /** The type flag: "0" file, "1" hard link, "2" symbolic link, "3" character device, "5" directory. */
  type?: string;
  content?: string | Uint8Array;
  link?: string;
  mode?: number;
  uid?: number;
  /** The size in the header, where it should not be the content's. */
  size?: number;
}

/** A ustar archive of the entries, sound or not. */
export function rawTar(entries: RawEntry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "");
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
    header.write(entry.name, 0, 100);
    octal(entry.mode ?? 0o644, 100, 8);
    octal(entry.uid ?? 0, 108, 8);
    octal(0, 116, 8);
    octal(entry.size ?? content.length, 124, 12);
    octal(0, 136, 12);
    header.write("        ", 148);
    header.write(entry.type ?? "0", 156);
    header.write(entry.link ?? "", 157, 100);
    header.write("ustar\u000000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
