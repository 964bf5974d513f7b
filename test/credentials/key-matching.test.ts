import t from "tap";
import {
  bestKeysFirst,
  isDockerHub,
  keyMatches,
  parseImageKey,
} from "../../server/credentials/key-matching.ts";

/** `registry/repository`. */
type Row = readonly [key: string, image: string, isMatch: boolean];

function matches(key: string, image: string): boolean {
  const slash = image.indexOf("/");
  return keyMatches(key, {
    registry: image.slice(0, slash),
    repository: image.slice(slash + 1),
  });
}

const TABLES: Readonly<Record<string, readonly Row[]>> = {
  "a host is matched whole": [
    ["team.example", "team.example/app", true],
    ["team.example", "team.example/a/b/c", true],
    ["TEAM.Example", "team.example/app", true],
    ["team.example", "other.example/app", false],
    ["team.example", "team.example.evil/app", false],
    ["team.example", "xteam.example/app", false],
    ["team.example", "a.team.example/app", false],
    ["a.team.example", "team.example/app", false],
    ["example", "team.example/app", false],
    ["", "team.example/app", false],
    [".", "team.example/app", false],
    ["team.example.", "team.example/app", false],
    ["team-example", "team.example/app", false],
  ],
  "ports are equal, or both absent": [
    ["team.example:5000", "team.example:5000/app", true],
    ["team.example:5000", "team.example/app", false],
    ["team.example", "team.example:5000/app", false],
    ["team.example:443", "team.example/app", false],
    ["https://team.example", "team.example:443/app", false],
    ["team.example:5000", "team.example:50000/app", false],
    ["team.example:", "team.example/app", true],
    ["team.example:*", "team.example:5000/app", false],
    ["*.example:5000", "team.example:5000/app", true],
    ["*:5000", "localhost:5000/app", true],
    ["team.example:5000:5000", "team.example:5000/app", false],
  ],
  "a wildcard stays within a label": [
    ["*.example", "team.example/app", true],
    ["*.team.example", "a.team.example/app", true],
    ["*.team.example", "a.b.team.example/app", false],
    ["*.team.example", "team.example/app", false],
    ["*", "team.example/app", false],
    ["*.*", "team.example/app", true],
    ["*.*.*", "team.example/app", false],
    ["**.example", "a.team.example/app", false],
    ["te*.example", "team.example/app", true],
    ["*am.example", "team.example/app", true],
    ["t*a*.ex*e", "team.example/app", true],
    ["t*x*.example", "team.example/app", false],
    ["team*.example", "team.example/app", true],
    ["*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.eu-central-1.amazonaws.com/app", true],
    ["*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.amazonaws.com/app", false],
    ["*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.cn-north-1.amazonaws.com.cn/app", false],
    ["tea?.example", "team.example/app", true],
    ["team?.example", "team.example/app", false],
    ["team[0-9].example", "team1.example/app", true],
    ["team[0-9].example", "teamx.example/app", false],
    ["team[^0-9].example", "teamx.example/app", true],
    ["team[ab].example", "teamb.example/app", true],
    ["team[.example", "team[.example/app", false],
    ["team[].example", "team.example/app", false],
    ["te\\am.example", "team.example/app", false],
  ],
  "a scheme and the API's version do not count": [
    ["https://team.example", "team.example/app", true],
    ["http://team.example/", "team.example/app", true],
    ["https://team.example/v1/", "team.example/app", true],
    ["https://team.example/v2/", "team.example/app", true],
    ["https://team.example/v2", "team.example/app", true],
    ["https://team.example/v2/team", "team.example/team/app", true],
    ["https://team.example/v2/team", "team.example/other/app", false],
    ["https://team.example/v3/", "team.example/app", false],
    ["team.example/v2/v2/", "team.example/v2/app", true],
    ["team.example/v2team", "team.example/v2team/app", true],
    ["ftp://team.example", "team.example/app", false],
    ["//team.example", "team.example/app", false],
  ],
  "a path is a prefix, without globs": [
    ["team.example/a", "team.example/a", true],
    ["team.example/a", "team.example/a/app", true],
    ["team.example/a", "team.example/ab/app", true],
    ["team.example/a/", "team.example/ab/app", false],
    ["team.example/a/", "team.example/a/app", true],
    ["team.example/a/app/b", "team.example/a/app", false],
    ["team.example/b", "team.example/a/b", false],
    ["team.example/*", "team.example/a", false],
    ["team.example/A", "team.example/a", false],
    ["*.example/a", "team.example/a/app", true],
    ["team.example//a", "team.example/a", false],
  ],
  "Docker Hub has many names": [
    ["https://index.docker.io/v1/", "docker.io/library/nginx", true],
    ["index.docker.io", "docker.io/library/nginx", true],
    ["docker.io", "docker.io/library/nginx", true],
    ["registry-1.docker.io", "docker.io/library/nginx", true],
    ["docker.io", "registry-1.docker.io/library/nginx", true],
    ["docker.io/team", "docker.io/team/app", true],
    ["https://index.docker.io/v1/team", "docker.io/team/app", true],
    ["docker.io/team", "docker.io/library/nginx", false],
    ["hub.docker.com", "docker.io/library/nginx", false],
    ["docker.com", "docker.io/library/nginx", false],
  ],
  "what only looks like it does not match": [
    ["docker.io", "docker.io.evil.com/library/nginx", false],
    ["docker.io", "evil-docker.io/library/nginx", false],
    ["docker.io", "xdocker.io/library/nginx", false],
    ["docker.io", "evil.com/docker.io/nginx", false],
    ["https://index.docker.io/v1/", "index.docker.io.evil.com/library/nginx", false],
    ["*.docker.io", "evil-docker.io/library/nginx", false],
    ["docker.io@evil.com", "evil.com/app", false],
    ["docker.io@evil.com", "docker.io/app", false],
    ["https://user:pass@team.example", "team.example/app", false],
    ["team.example#.evil.com", "team.example/app", false],
    ["team.example\n", "team.example/app", false],
    ["team.example evil.com", "team.example/app", false],
    ["[::1]:5000", "team.example:5000/app", false],
  ],
};

for (const [rule, rows] of Object.entries(TABLES)) {
  t.test(rule, (t) => {
    for (const [key, image, isMatch] of rows) {
      t.equal(matches(key, image), isMatch, `${JSON.stringify(key)} and ${image}`);
    }
    t.end();
  });
}

t.test("keys that were made to be slow name nothing, at once", (t) => {
  const image = `${"a".repeat(63)}.example/app`;
  const keys = [
    "*".repeat(10_000),
    `${"*a".repeat(5000)}.example`,
    `${"*a".repeat(500)}b.example`,
    `${"[a-z]".repeat(200)}.example`,
    `${"[".repeat(1000)}`,
    `[${"a-".repeat(500)}.example`,
    ".".repeat(1024),
    `https://${"/v2".repeat(300)}`,
  ];
  for (const key of keys) {
    for (let round = 0; round < 1000; round += 1) {
      if (matches(key, image)) {
        t.fail(key.slice(0, 20));
      }
    }
  }
  t.end();
});

t.test("the best key comes first, whatever way it is written", (t) => {
  const keys = [
    "*.example",
    "https://team.example/v2/",
    "team.example/a",
    "http://team.example/v1/a/b",
    "te*.example",
    "https://index.docker.io/v1/",
  ].flatMap((key) => parseImageKey(key) ?? []);
  t.same(
    bestKeysFirst(keys).map(({ name }) => name),
    ["team.example/a/b", "team.example/a", "team.example", "te*.example", "docker.io", "*.example"],
  );
  t.ok(isDockerHub("index.docker.io"));
  t.notOk(isDockerHub("docker.io.evil.com"));
  t.end();
});
