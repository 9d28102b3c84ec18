import { expect, test } from "vitest";
import { mayRenderSealed, refuseSealedManifests, refuseSealedValues, secretsFiles } from "./sealed.ts";

test("a value that is still encrypted is refused with its key, also inside a list", () => {
  const values = { db: [{ password: "ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]" }] };
  expect(() => refuseSealedValues(values)).toThrow("db.0.password is still encrypted");
  expect(() => refuseSealedValues({ db: "ENC[other]" })).not.toThrow();
});

test.each([0, 1, 2, 3])("manifests with something encrypted are refused, in base64 %i bytes in", (before) => {
  const content = `${"x".repeat(before)}ENC[AES256_GCM,data:x]`;
  for (const text of [content, Buffer.from(content).toString("base64")]) {
    const manifests = `---\n# Source: api/templates/a.yaml\na: 1\n---\n# Source: api/templates/b.yaml\nb: ${text}\n`;
    expect(() => refuseSealedManifests(manifests)).toThrow("api/templates/b.yaml renders");
  }
  expect(() => refuseSealedManifests(Buffer.from("ENC[AES").toString("base64"))).not.toThrow();
});

const sealedText = "password: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\n";

function filesOf(more: Record<string, string | Uint8Array>): Map<string, Uint8Array> {
  const files = {
    "api/Chart.yaml": "name: api\n",
    "api/values.yaml": "replicas: 1\n",
    "api/profiles/qa/secrets.yaml": sealedText,
    "api/templates/deployment.yaml": "replicas: {{ .Values.configFiles }}\nreadOnlyRootFilesystem: true\n",
    ...more,
  };
  return new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
}

test("a chart whose profiles alone are encrypted renders nothing encrypted without them", () => {
  expect(mayRenderSealed(filesOf({}), { password: "open" })).toBe(false);
  expect(secretsFiles(filesOf({}))).toEqual(["api/profiles/qa/secrets.yaml"]);
});

const base64 = (text: string) => Buffer.from(text).toString("base64");

test.each<[way: string, files: Record<string, string | Uint8Array>]>([
  ["the chart's own values", { "api/values.yaml": sealedText }],
  ["a subchart's values", { "api/charts/db/values.yaml": sealedText }],
  ["a subchart's profile", { "api/charts/db/profiles/qa/secrets.yaml": sealedText }],
  ["a template's text", { "api/templates/secret.yaml": sealedText }],
  ["a template's text in base64", { "api/templates/secret.yaml": `data: { a: ${base64(sealedText)} }` }],
  ["a custom resource definition", { "api/crds/x.yaml": sealedText }],
  ["an encrypted file of another name", { "api/files/licence.json": `{"a":"${sealedText.trim()}"}` }],
  ["a template that reads a file", { "api/templates/x.yaml": '{{ .Files.Get "profiles/qa/secrets.yaml" }}' }],
  ["a template that reads many", { "api/templates/x.yaml": '{{ range $.Files.Glob "**" }}{{ . }}{{ end }}' }],
  ["a helper of a subchart that reads files", { "api/charts/kws/templates/_x.tpl": '{{ index . "Files" }}' }],
  ["a packed subchart", { "api/charts/db-1.0.0.tgz": new Uint8Array([0x1f, 0x8b]) }],
])("manifests are looked at where something encrypted could come from %s", (_way, files) => {
  expect(mayRenderSealed(filesOf(files), {})).toBe(true);
});

test.each<[way: string, values: Record<string, unknown>]>([
  ["a value", { a: [{ b: "ENC[AES256_GCM,data:x]" }] }],
  ["a key", { "ENC[AES256_GCM,data:x]": 1 }],
  ["a value in base64", { a: base64(sealedText) }],
  ["a value that a template could run", { a: '{{ .Files.Get "profiles/qa/secrets.yaml" }}' }],
])(
  "manifests are looked at where something encrypted could come from %s, whichever layer set it",
  (_way, values) => {
    expect(mayRenderSealed(filesOf({}), values)).toBe(true);
  },
);
