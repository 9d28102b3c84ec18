import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { profileChain, profileLayers, refuseUnknownProfiles } from "./profiles.ts";

async function write(root: string, files: object): Promise<void> {
  for (const [path, text] of Object.entries<string>({ ...files })) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

test("layers are the chart's own values, the bases', then the profile's, each with values before secrets", async () => {
  await using dir = await tempDir("kws-profiles");
  await write(dir.path, {
    "values.yaml": "a: 1\n",
    "profiles/shared/secrets.yaml": "a: 2\n",
    "profiles/qa/profile.yaml": "extends: shared\n",
    "profiles/qa/values.yaml": "a: 3\n",
    "profiles/qa/secrets.yaml": "a: 4\n",
    "profiles/qa1/profile.yaml": "extends: qa\n",
    "profiles/qa1/values.yaml": "a: 5\n",
    "profiles/other/values.yaml": "a: 6\n",
  });
  const layers = await profileLayers(dir.path, "qa1");
  expect(layers.map(({ name, kind, text }) => `${name} ${kind} ${text.trim()}`)).toEqual([
    "defaults defaults a: 1",
    "shared secrets a: 2",
    "qa values a: 3",
    "qa secrets a: 4",
    "qa1 values a: 5",
  ]);
  expect(layers[2]?.file).toBe(join(dir.path, "profiles/qa/values.yaml"));
  expect(await profileLayers(dir.path, undefined)).toHaveLength(1);
});

test("a chart without profiles and values has no layers", async () => {
  await using dir = await tempDir("kws-profiles");
  expect(await profileLayers(dir.path, undefined)).toEqual([]);
});

test.each([
  [
    "profiles that extend each other",
    { "profiles/qa1/profile.yaml": "extends: qa\n", "profiles/qa/profile.yaml": "# back\nextends: qa1\n" },
    {
      at: "profiles/qa/profile.yaml:2:10",
      message: "profiles extend each other in a circle: qa1 → qa → qa1",
    },
  ],
  [
    "a profile that extends itself",
    { "profiles/qa1/profile.yaml": "extends: qa1\n" },
    { at: "profiles/qa1/profile.yaml:1:10", message: "profiles extend each other in a circle: qa1 → qa1" },
  ],
  [
    "a base that does not exist",
    { "profiles/qa1/profile.yaml": "extends: stagin\n", "profiles/staging/values.yaml": "" },
    { at: "profiles/qa1/profile.yaml:1:10", fix: 'Did you mean "staging"?' },
  ],
  [
    "a base outside of the profiles",
    { "profiles/qa1/profile.yaml": "extends: ../../other\n" },
    { at: "profiles/qa1/profile.yaml:1:10" },
  ],
  [
    "an unknown key",
    { "profiles/qa1/profile.yaml": "\nextend: qa\n" },
    { at: "profiles/qa1/profile.yaml:2:1", fix: 'Did you mean "extends"?' },
  ],
  [
    "a file that nothing would read",
    { "profiles/qa1/secrets.yml": "a: 1\n", "profiles/qa1/.sops.yaml": "creation_rules: []\n" },
    { at: "profiles/qa1/secrets.yml", fix: 'Did you mean "secrets.yaml"?' },
  ],
  [
    "a base that is no name",
    { "profiles/qa1/profile.yaml": "extends: [qa]\n" },
    { at: "profiles/qa1/profile.yaml:1:10" },
  ],
])("%s: refused at its place", async (_case, files, { at, ...others }) => {
  await using dir = await tempDir("kws-profiles");
  await write(dir.path, files);
  await expect(profileChain(dir.path, "qa1")).rejects.toMatchObject({
    code: "config",
    at: join(dir.path, at),
    ...others,
  });
});

test("a profile that the chart does not have is refused, with the nearest one", async () => {
  await using dir = await tempDir("kws-profiles");
  await write(dir.path, { "profiles/production/values.yaml": "" });
  await expect(profileLayers(dir.path, "producton")).rejects.toMatchObject({
    code: "not-found",
    fix: 'Did you mean "production"?',
  });
});

/** Asks for a profile of the package `till`, and of `payments` as one of all. */
function askFor(till: { profile: string; chosen: boolean }): void {
  refuseUnknownProfiles([
    { name: "till 1.0.0", known: ["qa"], ...till },
    { name: "payments 1.4.0", known: ["production"], profile: till.profile, chosen: false },
  ]);
}

test.each([
  [{ profile: "producton", chosen: true }, 'the chart till 1.0.0 has no profile "producton"'],
  [{ profile: "producton", chosen: false }, 'no package has the profile "producton"'],
  [{ profile: "production", chosen: true }, 'the chart till 1.0.0 has no profile "production"'],
])(
  "a profile of several packages is refused where a slip would install the defaults: %o",
  (till, message) => {
    expect(() => askFor(till)).toThrow(message);
  },
);

test.each(["production", "local"])("of several packages one may lack the profile of all: %s", (profile) => {
  expect(() => askFor({ profile, chosen: false })).not.toThrow();
});
