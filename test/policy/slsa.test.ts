import t from "tap";
import { readProvenance } from "../../server/policy/slsa.ts";

const V1 = "https://slsa.dev/provenance/v1";
const V02 = "https://slsa.dev/provenance/v0.2";

t.test("provenance v1 names its builder and its sources", (t) => {
  const predicate = {
    buildDefinition: {
      buildType: "https://actions.github.io/buildtypes/workflow/v1",
      externalParameters: {
        workflow: { ref: "refs/heads/main", repository: "https://github.com/acme/app" },
      },
      resolvedDependencies: [
        { uri: "git+https://github.com/acme/app@refs/heads/main", digest: { gitCommit: "c0ffee" } },
        { name: "without uri" },
        { uri: "git+https://github.com/acme/app@refs/heads/main" },
      ],
    },
    runDetails: { builder: { id: "https://github.com/actions/runner/github-hosted" } },
  };
  t.strictSame(readProvenance(V1, predicate), {
    builder: "https://github.com/actions/runner/github-hosted",
    sources: ["https://github.com/acme/app", "git+https://github.com/acme/app@refs/heads/main"],
  });
  t.end();
});

t.test("provenance v0.2 names them elsewhere", (t) => {
  const predicate = {
    builder: { id: "https://github.com/slsa-framework/generator@v1" },
    invocation: { configSource: { uri: "git+https://github.com/acme/app@refs/tags/v1" } },
    materials: [{ uri: "pkg:docker/alpine@3" }, { uri: 7 }, null],
  };
  t.strictSame(readProvenance(V02, predicate), {
    builder: "https://github.com/slsa-framework/generator@v1",
    sources: ["git+https://github.com/acme/app@refs/tags/v1", "pkg:docker/alpine@3"],
  });
  t.end();
});

t.test("a field of another version says nothing", (t) => {
  const nothing = { builder: "", sources: [] };
  t.strictSame(readProvenance(V1, { builder: { id: "b" }, materials: [{ uri: "m" }] }), nothing);
  t.strictSame(readProvenance(V02, { runDetails: { builder: { id: "b" } } }), nothing);
  t.strictSame(readProvenance("https://evil.example/v1", { builder: { id: "b" } }), nothing);
  t.end();
});

t.test("any shape is tolerated, and a long list is cut", (t) => {
  const shapes: readonly unknown[] = [
    undefined,
    null,
    7,
    "x",
    [],
    { buildDefinition: [], runDetails: null },
    { buildDefinition: { resolvedDependencies: {}, externalParameters: "x" } },
    { builder: [{ id: "x" }], materials: "x", invocation: 1 },
    JSON.parse('{"__proto__":{"runDetails":{"builder":{"id":"x"}},"builder":{"id":"x"}}}'),
  ];
  for (const predicate of shapes) {
    for (const type of [V1, V02]) {
      t.strictSame(readProvenance(type, predicate), { builder: "", sources: [] });
    }
  }
  const materials = Array.from({ length: 50_000 }, (_, index) => ({ uri: `m${index}` }));
  t.ok(readProvenance(V02, { materials }).sources.length < 5000);
  t.end();
});
