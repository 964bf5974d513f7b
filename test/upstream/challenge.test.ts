import t from "tap";
import { parseChallenges, preferredChallenge } from "../../server/upstream/challenge.ts";

type Read = [scheme: string, parameters: Record<string, string>];

function read(header: string | string[] | undefined): Read[] {
  return parseChallenges(header).map(({ scheme, parameters }) => [
    scheme,
    Object.fromEntries(parameters),
  ]);
}

t.test("the challenges of real registries are read", (t) => {
  const cases: [header: string | string[], expected: Read[]][] = [
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
      [
        [
          "bearer",
          {
            realm: "https://auth.docker.io/token",
            service: "registry.docker.io",
            scope: "repository:library/nginx:pull",
          },
        ],
      ],
    ],
    ['Basic realm="Registry Realm"', [["basic", { realm: "Registry Realm" }]]],
    ["BASIC realm=unquoted", [["basic", { realm: "unquoted" }]]],
    [
      'Bearer realm="a" , scope = "b c", Basic realm="d"',
      [
        ["bearer", { realm: "a", scope: "b c" }],
        ["basic", { realm: "d" }],
      ],
    ],
    [
      'Negotiate, NTLM abc==, Bearer realm="a"',
      [
        ["negotiate", {}],
        ["ntlm", {}],
        ["bearer", { realm: "a" }],
      ],
    ],
    [
      ['Basic realm="a"', 'Bearer realm="b"'],
      [
        ["basic", { realm: "a" }],
        ["bearer", { realm: "b" }],
      ],
    ],
    ['Bearer realm="a \\"b\\" \\\\c",x=y', [["bearer", { realm: 'a "b" \\c', x: "y" }]]],
    ['Bearer realm="a, Basic realm=b"', [["bearer", { realm: "a, Basic realm=b" }]]],
    [', ,Bearer ,realm="a",,scope="b"', [["bearer", { realm: "a", scope: "b" }]]],
    ['Bearer realm="first",realm="second"', [["bearer", { realm: "first" }]]],
    ['Bearer __proto__="x"', [["bearer", Object.fromEntries([["__proto__", "x"]])]]],
  ];
  for (const [header, expected] of cases) {
    t.same(read(header), expected, String(header));
  }
  t.end();
});

t.test("what is no challenge is nothing, and ends the reading", (t) => {
  t.same(read(undefined), []);
  t.same(read(""), []);
  t.same(read('"quoted"'), []);
  t.same(read("= x"), []);
  t.same(read('Bearer realm="never closed'), [["bearer", {}]]);
  t.same(read('Bearer realm="a", x=, Basic realm="b"'), [["bearer", { realm: "a" }]]);
  t.same(read(`Bearer realm="${"x".repeat(9000)}"`), []);
  t.ok(read("a, ".repeat(2000)).length <= 16);
  t.end();
});

t.test("Bearer is preferred to Basic wherever it stands, if it says where to go", (t) => {
  const scheme = (header: string): string | undefined =>
    preferredChallenge(parseChallenges(header))?.scheme;
  t.equal(scheme('Basic realm="a", Bearer realm="b"'), "bearer");
  t.equal(scheme('Basic realm="a", Bearer service="b"'), "basic");
  t.equal(scheme("Negotiate"), undefined);
  t.end();
});
