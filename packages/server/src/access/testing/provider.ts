/** A real OpenID Connect provider for tests, on loopback, with one person whose consent a test gives by walking its pages. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Provider } from "oidc-provider";

export interface TestProvider extends AsyncDisposable {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** Opens an address as a browser would, signs `account` in and agrees, up to the first address that begins with `until`. */
  browse(url: string, account: string, until: string): Promise<URL>;
}

export interface TestPerson {
  name: string;
  email: string;
  groups: string[];
}

/** `redirectUri` is where codes may be sent. */
export async function testProvider(
  people: Record<string, TestPerson>,
  redirectUri: string,
): Promise<TestProvider> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = { clientId: "kws", clientSecret: "a-secret-of-this-test-alone" };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: client.clientId,
        client_secret: client.clientSecret,
        redirect_uris: [redirectUri],
        grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        response_types: ["code"],
      },
    ],
    cookies: { keys: ["of this test"] },
    claims: { openid: ["sub"], profile: ["name", "groups"], email: ["email", "email_verified"] },
    // What a scope grants stands in the ID token itself, as with most providers that companies run.
    conformIdTokenClaims: false,
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    findAccount: (_context, id) => {
      const person = people[id];
      if (person === undefined) return undefined;
      return { accountId: id, claims: () => ({ sub: id, email_verified: true, ...person }) };
    },
  });
  const handle = provider.callback();
  server.on("request", (request, response) => void handle(request, response));

  return {
    issuer,
    ...client,
    browse: (url, account, until) => browse(url, account, until),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A browser of a few lines: cookies, redirects, and the first form of each page, filled in. */
async function browse(start: string, account: string, until: string): Promise<URL> {
  const cookies = new Map<string, string>();
  let url = new URL(start);
  let form: URLSearchParams | undefined;
  for (let pages = 0; pages < 20; pages++) {
    const response = await fetch(url, {
      method: form === undefined ? "GET" : "POST",
      body: form,
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      redirect: "manual",
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === "") cookies.delete(name);
      else cookies.set(name, value);
    }
    const location = response.headers.get("location");
    const html = await response.text();
    if (location !== null) {
      url = new URL(location, url);
      form = undefined;
    } else if (html.includes("<form")) {
      url = new URL(/action="([^"]*)"/.exec(html)?.[1] ?? "", url);
      form = filledIn(html, account);
    } else if (until === "") {
      return url;
    } else {
      throw new Error(`${url.href} answered ${response.status}: ${html}`);
    }
    if (until !== "" && url.href.startsWith(until)) return url;
  }
  throw new Error(`twenty pages did not lead from ${start} to ${until}`);
}

function filledIn(html: string, account: string): URLSearchParams {
  const form = new URLSearchParams();
  for (const [input] of html.matchAll(/<input[^>]*>/g)) {
    const attribute = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(input)?.[1];
    const name = attribute("name");
    if (name === undefined) continue;
    const typed = { login: account, password: "any" }[name];
    form.set(name, typed ?? attribute("value") ?? "");
  }
  return form;
}
