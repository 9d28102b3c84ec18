/** The `format` keyword of custom resources' schemas: the formats that apiextensions.k8s.io/v1 checks; others are ignored. */
import { isIPv4, isIPv6 } from "node:net";

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const hostname =
  /^(?=.{1,253}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
const uuid = (version: string, variant = "[0-9a-f]") =>
  new RegExp(`^[0-9a-f]{8}-?[0-9a-f]{4}-?${version}[0-9a-f]{3}-?${variant}[0-9a-f]{3}-?[0-9a-f]{12}$`, "i");

const checks: Record<string, (text: string) => boolean> = {
  "date-time": (text) =>
    /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/.test(text) &&
    isDate(text.slice(0, 10)) &&
    !Number.isNaN(Date.parse(text.replace(" ", "T").toUpperCase())),
  date: (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && isDate(text),
  byte: (text) => base64.test(text),
  ipv4: (text) => isIPv4(text),
  ipv6: (text) => isIPv6(text),
  cidr: isCidr,
  mac: (text) => /^(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}(?:[0-9a-f]{2}\1?[0-9a-f]{0,2})$/i.test(text),
  hostname: (text) => hostname.test(text),
  email: (text) => /^[^\s@<>]+@[^\s@<>]+$/.test(text),
  uri: (text) => URL.canParse(text) || /^\/\S*$/.test(text),
  uuid: (text) => uuid("[0-9a-f]").test(text),
  uuid3: (text) => uuid("3").test(text),
  uuid4: (text) => uuid("4", "[89ab]").test(text),
  uuid5: (text) => uuid("5", "[89ab]").test(text),
  duration: (text) =>
    /^[+-]?(?:0|(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d|w)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d|w))*)$/.test(
      text.replaceAll(" ", ""),
    ),
};

function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

function isCidr(text: string): boolean {
  const [address = "", length = "", ...rest] = text.split("/");
  if (rest.length > 0 || !/^\d{1,3}$/.test(length)) return false;
  return (isIPv4(address) && Number(length) <= 32) || (isIPv6(address) && Number(length) <= 128);
}

/** What is wrong, in upstream's words; undefined when the value has the format. */
export function formatProblem(format: unknown, value: string | number, path: string): string | undefined {
  if (typeof format !== "string") return undefined;
  if (typeof value === "number") {
    const limit = format === "int32" ? 2 ** 31 : undefined;
    const outside = limit !== undefined && Number.isInteger(value) && (value < -limit || value >= limit);
    return outside ? `${path} in body must be of type int32: "${value}"` : undefined;
  }
  const check = Object.hasOwn(checks, format) ? checks[format] : undefined;
  if (check === undefined || check(value)) return undefined;
  return `${path} in body must be of type ${format}: ${JSON.stringify(value)}`;
}
