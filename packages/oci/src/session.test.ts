/** The way to a registry and on from there: proxies, TLS, redirects, tokens. */
import { describe, expect, test } from "vitest";
import type { CredentialSource } from "./credentials.ts";
import { connectionError } from "./failures.ts";
import { openRegistries } from "./registry.ts";
import { blob, bodyOf, content, json, listen, open, push, read } from "./testing/hostile-server.ts";

describe("a registry that sends its clients elsewhere", () => {
  const credentials: CredentialSource = async () => ({ username: "ann", password: "secret" });

  test("another host gets the request and no credentials, and the registry itself keeps getting them", async () => {
    const seen: (string | undefined)[] = [];
    const elsewhere = await listen((request, response) => {
      seen.push(request.headers.authorization);
      response.end(content);
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      } else if (request.url?.startsWith("/here") === true) {
        response.writeHead(302, { location: `http://${elsewhere}/there` }).end();
      } else response.writeHead(307, { location: "/here" }).end();
    }, credentials);
    expect(await read(repository)).toEqual(content);
    expect(seen).toEqual([undefined]);
  });

  test("an upload to another host goes without credentials", async () => {
    const seen: (string | undefined)[] = [];
    const elsewhere = await listen(async (request, response) => {
      seen.push(request.headers.authorization);
      await bodyOf(request);
      response.writeHead(request.method === "PUT" ? 201 : 202, { location: "/upload" }).end();
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      } else if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(202, { location: `http://${elsewhere}/upload` }).end();
    }, credentials);
    await push(repository);
    expect(seen).toEqual([undefined, undefined]);
  });

  test("to a token service gets a token there, once for several requests, and a new one when it has ended", async () => {
    const asked: string[] = [];
    let valid = "";
    const tokens = await listen((request, response) => {
      asked.push(`${request.headers.authorization} ${decodeURIComponent(request.url ?? "")}`);
      valid = `token-${asked.length}`;
      json(response, 200, { token: valid, expires_in: 300 });
    });
    const repository = await open((request, response) => {
      if (request.headers.authorization === `Bearer ${valid}`) response.end(content);
      else {
        const challenge = `Bearer realm="http://${tokens}/token",service="reg",scope="x"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
      }
    }, credentials);
    await read(repository);
    await read(repository);
    expect(asked).toEqual([
      "Basic YW5uOnNlY3JldA== /token?service=reg&scope=repository:team/orders:pull&account=ann",
    ]);
    valid = "ended";
    await read(repository);
    expect(asked).toHaveLength(2);
  });

  test("an identity token is exchanged for a token, in the body of a POST", async () => {
    const forms: string[] = [];
    const tokens = await listen(async (request, response) => {
      forms.push(`${request.method} ${request.url} ${(await bodyOf(request)).toString()}`);
      json(response, 200, { access_token: "t" });
    });
    const repository = await open(
      (request, response) => {
        if (request.headers.authorization === "Bearer t") response.end(content);
        else response.writeHead(401, { "www-authenticate": `Bearer realm="http://${tokens}/token"` }).end();
      },
      async () => ({ identityToken: "refresh" }),
    );
    await read(repository);
    expect(forms).toEqual([
      "POST /token grant_type=refresh_token&client_id=kws&refresh_token=refresh&scope=repository%3Ateam%2Forders%3Apull",
    ]);
  });

  test("credentials go to no token service without TLS, and their refusal is told without them", async () => {
    const repository = await open((_, response) => {
      const challenge = 'Bearer realm="ftp://registry.example.com/token"';
      response.writeHead(401, { "www-authenticate": challenge }).end();
    }, credentials);
    await expect(read(repository)).rejects.toThrow(/not an HTTPS address/);

    const tokens = await listen((_, response) => json(response, 401, { errors: [] }));
    const refused = await open((_, response) => {
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://${tokens}/token"` }).end();
    }, credentials);
    await expect(read(refused)).rejects.toMatchObject({
      code: "permission",
      message: expect.not.stringContaining("secret"),
    });
  });
});

describe("the way to a registry", () => {
  const host = "registry.example.com";

  test("goes by the proxy that the environment names, and past those that it excepts", async () => {
    const seen: (string | undefined)[] = [];
    const proxy = await listen((request, response) => {
      seen.push(request.url);
      response.end(content);
    });
    const env = { http_proxy: `http://${proxy}`, KWS_INSECURE_REGISTRIES: `other.example.com, ${host}` };
    expect(await read(openRegistries({ env }).repository(`${host}/team/orders`))).toEqual(content);
    expect(seen).toEqual([`http://${host}/v2/team/orders/blobs/${blob.digest}`]);

    const here = await listen((_, response) => void response.end(content));
    expect(await read(openRegistries({ env }).repository(`${here}/team/orders`))).toEqual(content);
    expect(seen).toHaveLength(1);
  });

  test("is HTTPS unless it leads nowhere else, and says so to a registry that speaks HTTP", async () => {
    const plain = await listen((_, response) => void response.end(content));
    const strict = openRegistries({ env: {}, plainHttp: () => false, retryDelayMs: 1 });
    await expect(read(strict.repository(`${plain}/team/orders`))).rejects.toMatchObject({
      message: expect.stringContaining(`${plain} does not speak TLS there`),
      fix: expect.stringContaining("KWS_INSECURE_REGISTRIES"),
    });
  });

  test.each([
    ["DEPTH_ZERO_SELF_SIGNED_CERT", /signed by nobody that this machine trusts/, /NODE_EXTRA_CA_CERTS/],
    ["CERT_HAS_EXPIRED", /is not valid/, /renewed/],
    ["ENOTFOUND", /there is no host registry\.example\.com/, /network/],
    ["ECONNREFUSED", /nothing listens at registry\.example\.com/, /port/],
    ["ECONNRESET", /the connection to registry\.example\.com broke/, /try again/],
  ])("that fails with %s is told in words", (code, message, fix) => {
    const error = connectionError(host, "it", Object.assign(new Error("x"), { code }));
    expect(error).toMatchObject({ message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
  });
});
