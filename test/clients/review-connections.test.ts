// First, for the reflection that it brings: without it @peculiar/x509 refuses to load.
import "@sigstore/mock";
import { writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { join } from "node:path";
import t from "tap";
import { isEmptyLogIn } from "../../server/clients/authorization.ts";
import { Certificates } from "../../server/clients/certificates.ts";
import type { RegistryServerOptions } from "../../server/http/server.ts";
import { createRegistryServer, reloadTls } from "../../server/http/server.ts";
import { certificateOf, keyPairOf } from "../support/notation-certificates.ts";
import { GOOD_CERTIFICATE, TEST_CA } from "../support/tls-fixture.ts";

t.test("a CN that reads like a whole subject is nobody's", (t) => {
  const keys = keyPairOf("p256");
  const named = (value: string): string | undefined => {
    const subjectDN = [{ type: "CN", value }];
    const authority = { subjectDN: "CN=authority", keys };
    const raw = certificateOf(keys.publicKey, authority, { subjectDN });
    return new Certificates("subject").identify({ isTrusted: true, raw })?.name;
  };
  for (const name of ["CN=bob,O=acme", "O=acme", "1.2.3=#0c0178", "emailAddress=a@b"]) {
    t.throws(() => named(name), { name: "LogInProblem", message: /looks like a whole subject/ });
  }
  for (const name of ["bob", "system:node:node-1", "bob@acme.example", "a=b", "bob,O=acme"]) {
    t.equal(named(name), name);
  }
  t.end();
});

t.test("only podman's own spelling is no log-in", (t) => {
  for (const header of ["Basic Og==", "basic Og==", "BASIC  Og==", "", " "]) {
    t.ok(isEmptyLogIn(header), header);
  }
  for (const header of ["Basic OG==", "Basic og==", "Basic oG==", "Basic Og=", "Bearer Og=="]) {
    t.notOk(isEmptyLogIn(header), header);
  }
  t.end();
});

t.test("a connection ends when the authorities that judged it do", async (t) => {
  const folder = t.testdir({
    "server.crt": GOOD_CERTIFICATE.cert,
    "server.key": GOOD_CERTIFICATE.key,
    "clients.crt": TEST_CA,
  });
  const tls = {
    certFile: join(folder, "server.crt"),
    keyFile: join(folder, "server.key"),
    clientCaFile: join(folder, "clients.crt"),
  };
  let pings = 0;
  const app = createRegistryServer({
    tls,
    mayLackCertificate: false,
    isDraining: () => false,
    onFailure: () => undefined,
    records: { accessLog: { write: () => undefined } },
    registry: {},
    access: () => ({
      challenge: undefined,
      ping: () => {
        pings += 1;
        return Promise.resolve();
      },
    }),
  } as unknown as RegistryServerOptions);
  t.teardown(() => app.close());
  const url = new URL(await app.listen({ host: "127.0.0.1", port: 0 }));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const ping = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const options = { agent, ca: TEST_CA, servername: "localhost", ...GOOD_CERTIFICATE };
      request(new URL("/v2/", url), options, (answer) => {
        answer.resume().once("end", () => resolve(answer.statusCode));
      })
        .once("error", reject)
        .end();
    });
  t.equal(await ping(), 200);
  reloadTls(app.server, tls, false);
  t.equal(await ping(), 200, "the same authorities: the connection goes on");
  await writeFile(tls.clientCaFile, GOOD_CERTIFICATE.cert);
  reloadTls(app.server, tls, false);
  await t.rejects(ping());
  t.equal(pings, 2);
});
