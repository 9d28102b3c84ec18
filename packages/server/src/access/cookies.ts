/** The two cookies of a browser: its session, and the sign-in that it has begun. */

/** A browser takes `__Host-` from this host alone, over https and for all paths (RFC 6265bis, section 4.1.3.2). */
export const sessionCookie = (publicUrl: string | undefined): string => hostCookie("kws-session", publicUrl);
export const signInCookie = (publicUrl: string | undefined): string => hostCookie("kws-sign-in", publicUrl);

function hostCookie(name: string, publicUrl: string | undefined): string {
  return isHttps(publicUrl) ? `__Host-${name}` : name;
}

export function readCookie(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? "").split(";")) {
    const [key, value] = pair.trim().split("=", 2);
    if (key === name && value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** Lax: a link from elsewhere finds the session, a form from elsewhere does not. An age of 0 removes it. */
export function writeCookie(
  name: string,
  value: string,
  maxAgeSeconds: number,
  publicUrl: string | undefined,
): string {
  const secure = isHttps(publicUrl) ? "; Secure" : "";
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${maxAgeSeconds}${secure}`;
}

function isHttps(publicUrl: string | undefined): boolean {
  return publicUrl?.startsWith("https:") ?? false;
}
