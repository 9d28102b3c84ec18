/** The formats of names, labels, annotations and ports: each check returns upstream's complaint, or nothing. */

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const dns1123Label = new RegExp(`^${label}$`);
const dns1123Subdomain = new RegExp(`^${label}(\\.${label})*$`);
const dns1035Label = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedPart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

export type NameCheck = (name: string) => string[];

const atMost = (length: number) => `must be no more than ${length} bytes`;
const regex = (text: string, pattern: string, ...examples: string[]) =>
  `${text} (e.g. ${examples.map((example) => `'${example}'`).join(", or ")}, regex used for validation is '${pattern}')`;

export function checkDns1123Label(name: string): string[] {
  const problems = Buffer.byteLength(name) > 63 ? [atMost(63)] : [];
  if (!dns1123Label.test(name)) {
    problems.push(
      regex(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
        label,
        "my-name",
        "123-abc",
      ),
    );
  }
  return problems;
}

export function checkDns1123Subdomain(name: string): string[] {
  const problems = Buffer.byteLength(name) > 253 ? [atMost(253)] : [];
  if (!dns1123Subdomain.test(name)) {
    problems.push(
      regex(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        `${label}(\\.${label})*`,
        "example.com",
      ),
    );
  }
  return problems;
}

export function checkDns1035Label(name: string): string[] {
  const problems = Buffer.byteLength(name) > 63 ? [atMost(63)] : [];
  if (!dns1035Label.test(name)) {
    problems.push(
      regex(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        "my-name",
        "abc-123",
      ),
    );
  }
  return problems;
}

/** Names that only have to fit into one URL path segment, as those of RBAC objects. */
export function checkPathSegment(name: string): string[] {
  if (name === "." || name === "..") return [`may not be '${name}'`];
  return ["/", "%"].filter((part) => name.includes(part)).map((part) => `may not contain '${part}'`);
}

export function checkQualifiedName(name: string): string[] {
  const parts = name.split("/");
  const problems: string[] = [];
  const last = parts.at(-1) ?? "";
  if (parts.length > 2) {
    return [
      `a qualified name ${regex(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
        "MyName",
        "my.name",
        "123-abc",
      )} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  if (parts.length === 2) {
    const prefix = parts[0] ?? "";
    if (prefix === "") problems.push("prefix part must be non-empty");
    else problems.push(...checkDns1123Subdomain(prefix).map((problem) => `prefix part ${problem}`));
  }
  if (last === "") problems.push("name part must be non-empty");
  else if (Buffer.byteLength(last) > 63) problems.push(`name part ${atMost(63)}`);
  if (!qualifiedPart.test(last)) {
    problems.push(
      `name part ${regex(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
        "MyName",
        "my.name",
        "123-abc",
      )}`,
    );
  }
  return problems;
}

export function checkLabelValue(value: string): string[] {
  const problems = Buffer.byteLength(value) > 63 ? [atMost(63)] : [];
  if (value !== "" && !qualifiedPart.test(value)) {
    problems.push(
      regex(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
        "MyValue",
        "my_value",
        "12345",
      ),
    );
  }
  return problems;
}

/** Keys of ConfigMaps and Secrets. */
export function checkConfigMapKey(key: string): string[] {
  if (Buffer.byteLength(key) > 253) return [atMost(253)];
  if (key === "." || key.startsWith("..")) return [`must not be '.' or start with '..'`];
  if (/^[-._a-zA-Z0-9]+$/.test(key)) return [];
  return [
    regex(
      "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
      "[-._a-zA-Z0-9]+",
      "key.name",
      "KEY_NAME",
      "key-name",
    ),
  ];
}

/** Names of ports within containers and targets of Services. */
export function checkPortName(name: string): string[] {
  const problems: string[] = [];
  if (name.length > 15) problems.push("must be no more than 15 characters");
  if (!/^[-a-z0-9]+$/.test(name)) {
    problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!/[a-z]/.test(name)) problems.push("must contain at least one letter (a-z)");
  if (name.includes("--")) problems.push("must not contain consecutive hyphens");
  if (name.startsWith("-") || name.endsWith("-")) problems.push("must not begin or end with a hyphen");
  return problems;
}

/** Names of environment variables: any printable ASCII character but `=`, since Kubernetes 1.30. */
export function checkEnvName(name: string): string[] {
  return /^[ -<>-~]+$/.test(name)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}
