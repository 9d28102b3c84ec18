/**
 * What packaging writes into a chart: version, commit and images, so that the archive alone says what runs. Comments and the
 * order of keys stay as they are.
 */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { type Document, isMap, parseDocument } from "yaml";
import { parseYaml, type YamlFile } from "../project/yaml-file.ts";
import type { ChartFiles, ChartSource } from "./source.ts";
import { tagOf } from "./version.ts";

/** https://github.com/opencontainers/image-spec/blob/main/annotations.md; a chart that has it says so itself. */
export const sourceAnnotation = "org.opencontainers.image.source";
/** The services that must be ready before this one, separated by commas. */
export const dependsOnAnnotation = "kws.dev/depends-on";

/** An image as the chart's values have it. */
export interface PinnedImage {
  /** Where the values are: `["image"]`, or `[key, "image"]` for one of several. */
  keys: string[];
  repository: string;
  tag: string;
  /** `sha256:…`. */
  digest: string;
}

export interface Pins {
  version: string;
  /** Of Chart.yaml. */
  annotations: Record<string, string>;
  images: PinnedImage[];
}

/** The chart's files with the pins in Chart.yaml and values.yaml. */
export function pinChart({ dir, files }: ChartSource, pins: Pins): ChartFiles {
  const pinned = new Map(files);
  const edit = (path: string, change: (document: Document, file: YamlFile) => void) => {
    const text = Buffer.from(files.get(path) ?? "").toString();
    const file = parseYaml(join(dir, path), text);
    const document: Document = parseDocument(text);
    document.contents ??= document.createNode({});
    change(document, file);
    pinned.set(path, Buffer.from(document.toString({ lineWidth: 0 })));
  };
  edit("Chart.yaml", (document) => {
    document.set("version", pins.version);
    // Charts write it into a label, which may hold no `+`.
    document.set("appVersion", tagOf(pins.version));
    for (const [key, value] of Object.entries(pins.annotations)) {
      // A mirror or a fork can so give the bytes of the original.
      if (key === sourceAnnotation && document.hasIn(["annotations", key])) continue;
      document.setIn(["annotations", key], value);
    }
  });
  if (pins.images.length > 0) {
    edit("values.yaml", (document, file) => {
      for (const image of pins.images) setImage(document, image, file);
    });
  }
  return pinned;
}

function setImage(document: Document, image: PinnedImage, file: YamlFile): void {
  for (let length = 0; length <= image.keys.length; length++) {
    const keys = image.keys.slice(0, length);
    const node = length === 0 ? document.contents : document.getIn(keys, true);
    if (node === undefined || isMap(node)) continue;
    throw new UserError(`${keys.join(".") || file.path} must be a mapping, for the image to stand in it`, {
      code: "config",
      at: file.at(keys),
      fix: "Write it as `image: { repository: …, tag: …, digest: … }`.",
    });
  }
  const { keys, repository, tag, digest } = image;
  for (const [key, value] of Object.entries({ repository, tag, digest })) {
    document.setIn([...keys, key], value);
  }
}

/** Refuses a profile that would run another image than the package pins. */
export function refuseOverrides({ dir, files }: ChartSource, images: { keys: string[] }[]): void {
  for (const [path, content] of files) {
    if (!/^profiles\/[^/]+\/values\.ya?ml$/.test(path)) continue;
    const file = parseYaml(join(dir, path), Buffer.from(content).toString());
    for (const { keys } of images) {
      for (const key of ["repository", "tag", "digest"]) {
        if (!hasIn(file.value, [...keys, key])) continue;
        throw new UserError(`a profile may not set ${[...keys, key].join(".")}: the package pins the image`, {
          code: "config",
          at: file.at([...keys, key], true),
          fix: "Remove it; another image is another package.",
        });
      }
    }
  }
}

function hasIn(value: unknown, keys: string[]): boolean {
  let current: unknown = value;
  for (const key of keys) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return false;
    current = (current as Record<string, unknown>)[key];
  }
  return true;
}
