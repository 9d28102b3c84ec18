/** Which variables hold passwords and keys. */

/** By its name, or by a password inside an address. What is empty or a switch is none. */
export function isSensitive(name: string, value: string): boolean {
  if (value === "" || /^(true|false|yes|no|on|off|\d{1,6})$/i.test(value))
    return /PASS(WORD|WD)?$/i.test(name) && /^\d/.test(value);
  if (/:\/\/[^/\s:@]*:[^/\s@]+@/.test(value)) return true;
  if (
    /(_|^)(FILE|PATH|DIR|TTL|URL|URI|ENDPOINT|NAME|LENGTH|ALGORITHM|ISSUER|HEADER|TYPE|EXPIR[A-Z_]*)$/i.test(
      name,
    )
  )
    return false;
  return /PASS(WORD|WD|PHRASE)?(_|\d|$)|SECRET|TOKEN|CREDENTIAL|(API|PRIVATE|ACCESS|ENCRYPTION|MASTER|AUTH|SIGNING|APP|LICENSE)_?KEY|(^|_)PWD(_|$)|SALT$/i.test(
    name,
  );
}
