import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { TokenSettings } from "../../server/settings.ts";
import { GOOD_CERTIFICATE } from "../support/tls-fixture.ts";
import type { Signer, TokenRig } from "./token-rig.ts";
import { GOOD, MAIN, openTokens, sign, signerOf } from "./token-rig.ts";

interface KeyServer {
  readonly url: string;
  readonly requests: IncomingMessage[];
  answer: RequestListener;
}

function keysOf(...signers: readonly Signer[]): RequestListener {
  return (_request, response) => {
    response.writeHead(200, { "content-type": "application/jwk-set+json" });
    response.end(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }));
  };
}

function status(code: number, headers: Record<string, string> = {}): RequestListener {
  return (_request, response) => {
    response.writeHead(code, headers).end("secret words");
  };
}

async function openServer(t: Test, isTls = false): Promise<KeyServer> {
  const requests: IncomingMessage[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(request);
    server.answer(request, response);
  };
  const http = isTls ? createTlsServer({ ...GOOD_CERTIFICATE }, listener) : createServer(listener);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.teardown(() => {
    http.close();
    http.closeAllConnections();
  });
  const { port } = http.address() as AddressInfo;
  const url = `http${isTls ? "s" : ""}://127.0.0.1:${port}/keys`;
  const server: KeyServer = { url, requests, answer: keysOf(MAIN) };
  return server;
}

function openAt(
  t: Test,
  { url }: KeyServer,
  settings: Partial<TokenSettings> = {},
): Promise<TokenRig> {
  return openTokens(t, [{ jwksUrl: url, ...settings }]);
}

t.test("keys are fetched once for a crowd, and anew after ten minutes", async (t) => {
  const server = await openServer(t);
  const { refusalOf, pass } = await openAt(t, server);
  const token = await sign({ ...GOOD, exp: (GOOD.exp ?? 0) + 3600 });
  const crowd = Array.from({ length: 50 }, () => refusalOf(token));
  t.ok((await Promise.all(crowd)).every((refusal) => refusal === undefined));
  t.equal(server.requests.length, 1);
  t.match(server.requests[0]?.headers, { authorization: undefined });
  server.answer = keysOf(await signerOf("ES256", "next"));
  pass(600_000);
  t.equal(await refusalOf(token), undefined, "not waited for");
  while (server.requests.length < 2 || (await refusalOf(token)) === undefined) {
    await new Promise(setImmediate);
  }
  t.match(await refusalOf(token), /does not publish/, "a key that was withdrawn ends");
});

t.test("a key that is not known is asked for, but not by whoever makes one up", async (t) => {
  const server = await openServer(t);
  const { refusalOf, pass } = await openAt(t, server);
  t.equal(await refusalOf(await sign(GOOD)), undefined);
  const next = await signerOf("ES256", "next");
  server.answer = keysOf(MAIN, next);
  const token = await sign(GOOD, next);
  t.match(await refusalOf(token), /does not publish/, "the last look was a moment ago");
  pass(30_000);
  t.equal(await refusalOf(token), undefined);
  t.equal(server.requests.length, 2);
  for (let count = 0; count < 20; count += 1) {
    const strange = await sign(GOOD, { ...next, jwk: { ...next.jwk, kid: `made up ${count}` } });
    t.match(await refusalOf(strange), /does not publish/);
  }
  t.equal(server.requests.length, 2);
});

t.test("the last keys count as long as the url is down, which is told of once", async (t) => {
  const server = await openServer(t);
  const { refusalOf, pass, faults } = await openAt(t, server);
  const lasting = { ...GOOD, exp: (GOOD.exp ?? 0) + 86_400 };
  t.equal(await refusalOf(await sign(lasting)), undefined);
  server.answer = status(500);
  const strange = await sign(lasting, await signerOf("ES256", "strange"));
  for (let count = 1; count <= 3; count += 1) {
    pass(600_000);
    t.match(await refusalOf(strange), /does not publish/);
    t.equal(await refusalOf(await sign({ ...lasting, jti: String(count) })), undefined);
  }
  t.ok(server.requests.length > 2);
  t.equal(faults.length, 1);
  t.match(faults[0], { message: /\/keys: it answered 500; the keys that were fetched last stay/ });
});

t.test("without any keys a token can wait: nobody is told that it is wrong", async (t) => {
  const server = await openServer(t);
  server.answer = status(503);
  const { tokens, refusalOf, pass } = await openAt(t, server);
  const token = await sign(GOOD);
  await t.rejects(tokens.identify(token), { code: "overloaded", retryAfterSeconds: 5 });
  server.answer = keysOf(MAIN);
  await t.rejects(tokens.identify(token), { code: "overloaded" });
  t.equal(server.requests.length, 1);
  pass(5000);
  t.equal(await refusalOf(token), undefined);
});

t.test("an answer that is no key set is told of, without its content", async (t) => {
  const cases: readonly [answer: RequestListener, fault: RegExp][] = [
    [status(302, { location: "http://127.0.0.1:1/" }), /302; redirects are not followed/],
    [status(401), /401; it may want the token of a tokenFile/],
    [status(403), /403; it may want the token/],
    [status(404), /answered 404/],
    [status(200), /no JWK set/],
    [(_, response) => response.end('{"keys":[{"kty":"oct","k":"secret"}]}'), /secret or private/],
    [(_, response) => response.end(" ".repeat(300_000)), /more than 262144 bytes/],
    [(_, response) => response.writeHead(200, { "content-length": 9e9 }).write(" "), /more than/],
    [(request) => request.socket.destroy(), /closed the connection/],
    [(request) => request.socket.end("SSH-2.0\r\n\r\n"), /not HTTP/],
  ];
  for (const [answer, fault] of cases) {
    const server = await openServer(t);
    server.answer = answer;
    const { refusalOf, faults } = await openAt(t, server);
    t.match(await refusalOf(await sign(GOOD)), /cannot be fetched for now/);
    t.match(faults, [{ message: fault }]);
    t.notMatch(String(faults[0]), /secret words|"k"/);
  }
});

t.test("a private authority and a token that changes, as in Kubernetes", async (t) => {
  const server = await openServer(t, true);
  const { refusalOf, pass, path } = await openAt(t, server, {
    caFile: "ca.crt",
    tokenFile: "bearer",
  });
  t.equal(await refusalOf(await sign(GOOD)), undefined);
  t.equal(server.requests[0]?.headers.authorization, "Bearer first");
  await writeFile(join(path, "../bearer"), "second\n");
  pass(30_000);
  await refusalOf(await sign(GOOD, await signerOf("ES256", "strange")));
  t.equal(server.requests[1]?.headers.authorization, "Bearer second");
});

t.test("what the request for keys cannot be made with is named", async (t) => {
  const server = await openServer(t, true);
  const cases: readonly [settings: Partial<TokenSettings>, fault: RegExp][] = [
    [{}, /certificate or TLS handshake failed/],
    [{ caFile: "nowhere" }, /its caFile .*nowhere: it cannot be read \(ENOENT\)/],
    [{ caFile: "ca.crt", tokenFile: "odd" }, /tokenFile .*odd holds no token/],
    [{ caFile: "ca.crt", tokenFile: "nowhere" }, /tokenFile .*nowhere: it cannot be read/],
  ];
  for (const [settings, fault] of cases) {
    const { refusalOf, faults } = await openAt(t, server, settings);
    t.match(await refusalOf(await sign(GOOD)), /cannot be fetched for now/);
    t.match(faults, [{ message: fault }]);
  }
  t.equal(server.requests.length, 0);
});

t.test("a new configuration does not wait for a url that hangs", async (t) => {
  const server = await openServer(t);
  const asked = Promise.withResolvers<void>();
  server.answer = () => asked.resolve();
  const { tokens, refusalOf, faults } = await openAt(t, server);
  const refusal = refusalOf(await sign(GOOD));
  await asked.promise;
  await tokens[Symbol.asyncDispose]();
  t.match(await refusal, /cannot be fetched for now/);
  t.same(faults, []);
});
