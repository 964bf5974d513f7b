import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { parse } from "yaml";
import { loadConfig } from "../../server/config/config.ts";
import { effectiveConfig } from "../../server/config/effective.ts";
import { configNotes } from "../../server/config/notes.ts";
import type { Settings } from "../../server/settings.ts";

const PROVIDERS = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider
    matchImages: ["*.dkr.ecr.*.amazonaws.com"]
    defaultCacheDuration: 12h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`;
const FILES = {
  users: `alice:$2y$10$${"a".repeat(21)}.${"a".repeat(30)}.\n`,
  "jwks.json": '{"keys":[{"kty":"EC"}]}',
  "ca.crt": "not looked into",
  "admin.token": "t0ken\n",
  "providers.yaml": PROVIDERS,
  bin: { "ecr-credential-provider": "#!/bin/sh\n" },
};

function load(t: Test, text: string): Settings {
  const file = join(t.testdir(FILES), "sluice.yaml");
  writeFileSync(file, text);
  return loadConfig(file, { TEAM_PASSWORD: "s3cret-value" });
}

function notesOf(t: Test, text: string): readonly string[] {
  return configNotes(load(t, text), Date.parse("2026-01-01T00:00:00Z"));
}

t.test("without the section whoever can connect may pull", async (t) => {
  t.equal(load(t, "listen: :5000\n").clients, undefined);
});

t.test("what a file leaves out has the usual claims, and lets in nobody unknown", async (t) => {
  const { clients } = load(
    t,
    `clients:
  tokens: [{ issuer: https://issuer.example, audience: sluice, jwksUrl: https://issuer.example }]
`,
  );
  t.strictSame(clients, {
    tokens: [
      {
        issuer: "https://issuer.example",
        audience: "sluice",
        jwksUrl: "https://issuer.example/",
        nameClaim: "sub",
        groupsClaim: "groups",
      },
    ],
    anonymous: false,
  });
});

t.test("all of the section is read, and its files are found beside the file", async (t) => {
  const { clients, tls, adminTokenFile } = load(
    t,
    `adminTokenFile: admin.token
tls: { certFile: ca.crt, keyFile: ca.crt, clientCaFile: ca.crt }
upstreams: { team.example: { access: per-client }, docker.io: {} }
clients:
  htpasswdFile: users
  tokens:
    - issuer: kubernetes
      audience: sluice
      jwksUrl: http://127.0.0.1:8001/openid/v1/jwks
      caFile: ca.crt
      tokenFile: admin.token
      nameClaim: name
      groupsClaim: roles
    - { issuer: kubernetes, audience: other, jwksFile: jwks.json }
  certificates: { name: subject }
  anonymous: true
  rules:
    - { who: ["user:alice", "user:system:serviceaccount:team-*:**", "group:a b"], pull: [team.example/a/**, docker.io/**] }
    - { who: [anonymous], pull: [docker.io/library/*] }
    - { who: ["*"], pull: ["**"] }
`,
  );
  const folder = t.testdirName;
  t.equal(adminTokenFile, join(folder, "admin.token"));
  t.equal(tls?.clientCaFile, join(folder, "ca.crt"));
  t.strictSame(clients, {
    htpasswdFile: join(folder, "users"),
    tokens: [
      {
        issuer: "kubernetes",
        audience: "sluice",
        jwksUrl: "http://127.0.0.1:8001/openid/v1/jwks",
        caFile: join(folder, "ca.crt"),
        tokenFile: join(folder, "admin.token"),
        nameClaim: "name",
        groupsClaim: "roles",
      },
      {
        issuer: "kubernetes",
        audience: "other",
        jwksFile: join(folder, "jwks.json"),
        nameClaim: "sub",
        groupsClaim: "groups",
      },
    ],
    certificates: { name: "subject" },
    anonymous: true,
    rules: [
      {
        who: ["user:alice", "user:system:serviceaccount:team-*:**", "group:a b"],
        pull: ["team.example/a/**", "docker.io/**"],
      },
      { who: ["anonymous"], pull: ["docker.io/library/*"] },
      { who: ["*"], pull: ["**"] },
    ],
  });
});

t.test("an upstream's access is shared unless the file says otherwise", async (t) => {
  const { upstreams } = load(
    t,
    "upstreams: { a.example: {}, b.example: { access: per-client } }\n",
  );
  t.same(
    upstreams.map(({ access }) => access),
    ["shared", "per-client"],
  );
});

t.test("a cloud's log-in has what its provider needs, and no user", async (t) => {
  const text = `upstreams:
  123456789012.dkr.ecr.eu-central-1.amazonaws.com:
    auth: { provider: ecr, region: eu-central-1, endpoint: "https://vpce.example/" }
  public.ecr.aws: { auth: { provider: ecr-public } }
  acme.azurecr.io: { auth: { provider: acr, clientId: 11111111-2222-3333-4444-555555555555 } }
  europe-docker.pkg.dev: { auth: { provider: google, keyFile: jwks.json } }
`;
  t.strictSame(
    load(t, text).upstreams.map(({ auth }) => auth),
    [
      { provider: "ecr", region: "eu-central-1", endpoint: "https://vpce.example" },
      { provider: "ecr-public" },
      { provider: "acr", clientId: "11111111-2222-3333-4444-555555555555" },
      { provider: "google", keyFile: join(t.testdirName, "jwks.json") },
    ],
  );
});

t.test("kubelet providers are looked into, and their plugins looked for", async (t) => {
  const text = "credentials: { kubeletProviders: { configFile: providers.yaml, binDir: bin } }\n";
  const read = () => load(t, text).credentials;
  t.throws(read, {
    message: /:1:48: .*provider ecr-credential-provider: .* not an executable file/,
  });
  chmodSync(join(t.testdirName, "bin", "ecr-credential-provider"), 0o755);
  const { credentials } = loadConfig(join(t.testdirName, "sluice.yaml"), {});
  t.strictSame(credentials, {
    kubeletProviders: {
      configFile: join(t.testdirName, "providers.yaml"),
      binDir: join(t.testdirName, "bin"),
    },
  });
  writeFileSync(join(t.testdirName, "providers.yaml"), "kind: Pod\nproviders: [1]\n");
  const reload = () => loadConfig(join(t.testdirName, "sluice.yaml"), {});
  t.throws(reload, { message: /:1:48: .*providers\.yaml:1:.*; and \d+ more problems in it$/ });
});

t.test("what is in effect of a section without tokens is a configuration again", async (t) => {
  const text = "clients: { anonymous: true }\nadminTokenFile: admin.token\n";
  const settings = load(t, text);
  const shown = effectiveConfig(settings);
  t.same(parse(shown).clients, { anonymous: true });
  t.notMatch(shown, /t0ken/);
  writeFileSync(join(t.testdirName, "sluice.yaml"), shown);
  t.same(loadConfig(join(t.testdirName, "sluice.yaml"), {}), settings);
});

t.test("log-ins that everybody on the way could read are worth a note", async (t) => {
  const clear = /^clients log in without tls/;
  t.match(notesOf(t, "listen: :5000\nclients: { htpasswdFile: users }\n"), [clear]);
  t.same(notesOf(t, "listen: '[::1]:5000'\nclients: { htpasswdFile: users }\n"), []);
  const tls = "tls: { certFile: ca.crt, keyFile: ca.crt }\n";
  t.same(notesOf(t, `listen: :5000\n${tls}clients: { htpasswdFile: users }\n`), []);
  const open = notesOf(t, "listen: :5000\nclients: { anonymous: true }\n");
  t.match(open, [/^clients\.anonymous is true without clients\.rules: whoever can connect pulls/]);
  t.equal(open.length, 1, "who shows nothing shows nothing in the clear");
});

t.test("an admin port for other machines wants a token", async (t) => {
  t.match(notesOf(t, "admin: :5001\n"), [
    /^admin is open to other machines without adminTokenFile/,
  ]);
  t.same(notesOf(t, "admin: :5001\nadminTokenFile: admin.token\n"), []);
  t.same(notesOf(t, "admin: localhost:5001\n"), []);
});

t.test("one header cannot hold a log-in here and one at the registry", async (t) => {
  const upstreams = "upstreams: { team.example: { access: per-client } }\n";
  const withUsers = notesOf(t, `${upstreams}clients: { htpasswdFile: users }\n`);
  t.match(withUsers, [/^upstream team\.example is per-client.* one Authorization header.*cannot/]);
  const open =
    "clients: { htpasswdFile: users, anonymous: true, rules: [{ who: ['*'], pull: ['**'] }] }";
  t.match(notesOf(t, `${upstreams}${open}\n`), [/there with it is anonymous here$/]);
  const certificates = `tls: { certFile: ca.crt, keyFile: ca.crt, clientCaFile: ca.crt }
clients: { htpasswdFile: users, certificates: { name: san } }
`;
  t.same(notesOf(t, upstreams + certificates), []);
});

t.test("a group that nobody can be in is worth a note", async (t) => {
  const rules =
    "rules: [{ who: ['*'], pull: [quay.io/**] }, { who: ['group:a'], pull: [ghcr.io/a/b] }]";
  const none = /^clients\.rules\[1\] names a group: only tokens, and certificates by subject/;
  t.match(notesOf(t, `clients: { htpasswdFile: users, ${rules} }\n`), [none]);
  const token = "tokens: [{ issuer: a, audience: b, jwksFile: jwks.json }]";
  t.same(notesOf(t, `clients: { ${token}, ${rules} }\n`), []);
});

t.test("a rule that an earlier one leaves nothing to is worth a note", async (t) => {
  const rules = [
    '{ who: ["group:a", "user:**"], pull: [docker.io/library/**, quay.io/**] }',
    '{ who: ["group:a", "user:alice"], pull: [docker.io/library/alpine, quay.io/**] }',
    '{ who: ["group:a"], pull: [docker.io/**] }',
    '{ who: ["group:b"], pull: [quay.io/**] }',
    '{ who: ["*"], pull: ["**"] }',
    "{ who: [anonymous], pull: [quay.io/a/b] }",
  ];
  const text = `clients: { anonymous: true, tokens: [{ issuer: a, audience: b, jwksFile: jwks.json }], rules: [${rules.join(", ")}] }\n`;
  t.same(notesOf(t, text), [
    "clients.rules[1] matches nothing that clients.rules[0] before it does not match",
    "clients.rules[5] matches nothing that clients.rules[4] before it does not match",
  ]);
});
