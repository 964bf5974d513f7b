import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { parseKubeletConfig } from "../../server/credentials/kubelet-config.ts";
import { parseGoDuration } from "../../server/credentials/kubelet-duration.ts";
import {
  checkKubeletProviders,
  KubeletProviders,
} from "../../server/credentials/kubelet-providers.ts";
import type { KubeletProviderSettings } from "../../server/settings.ts";

const GOOD = `
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: team-provider_1.0
    matchImages:
      - "*.dkr.ecr.*.amazonaws.com"
      - registry.example:5000/team
    defaultCacheDuration: 12h0m0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env:
      - name: TEAM_PROFILE
        value: pull
      - name: EMPTY
        value: ""
`;

/** The file, with what replaces one of its lines. */
function withLine(line: string, replacement: string): string {
  if (!GOOD.includes(line)) {
    throw new Error(`no such line: ${line}`);
  }
  return GOOD.replace(line, replacement);
}

function folderWith(t: Test, config: string): KubeletProviderSettings {
  const folder = t.testdir({ "config.yaml": config, bin: { "team-provider_1.0": "#!/bin/sh\n" } });
  const binDir = join(folder, "bin");
  chmodSync(join(binDir, "team-provider_1.0"), 0o755);
  return { configFile: join(folder, "config.yaml"), binDir };
}

t.test("the kubelet's file is read, in YAML and in JSON", async (t) => {
  const expected = {
    problems: [],
    providers: [
      {
        name: "team-provider_1.0",
        matchImages: ["*.dkr.ecr.*.amazonaws.com", "registry.example:5000/team"],
        defaultCacheMs: 43_200_000,
        args: ["get-credentials"],
        env: { TEAM_PROFILE: "pull", EMPTY: "" },
      },
    ],
  };
  t.same(parseKubeletConfig("config.yaml", GOOD), expected);
  const json = {
    apiVersion: "kubelet.config.k8s.io/v1",
    kind: "CredentialProviderConfig",
    providers: [
      {
        name: "team",
        matchImages: ["a.example"],
        defaultCacheDuration: "0s",
        apiVersion: "credentialprovider.kubelet.k8s.io/v1",
        env: null,
      },
    ],
  };
  t.match(parseKubeletConfig("config.json", JSON.stringify(json, undefined, "\t")), {
    problems: [],
    providers: [{ name: "team", defaultCacheMs: 0, args: [], env: {} }],
  });
  t.same(checkKubeletProviders(folderWith(t, GOOD)), []);
});

t.test("durations are Go's", async (t) => {
  const rows: readonly (readonly [text: string, expected: number | undefined])[] = [
    ["0", 0],
    ["0s", 0],
    ["12h0m0s", 43_200_000],
    ["1.5h", 5_400_000],
    ["300ms", 300],
    ["1m30s", 90_000],
    ["1s1us", 1000.001],
    ["-1m", -60_000],
    ["+1m", 60_000],
    ["", undefined],
    ["5", undefined],
    ["5 m", undefined],
    ["1d", undefined],
    ["m", undefined],
    ["1h0", undefined],
    ["1e3s", undefined],
    ["9".repeat(100), undefined],
    [`${"1h".repeat(100)}!`, undefined],
  ];
  for (const [text, expected] of rows) {
    t.equal(parseGoDuration(text), expected, text);
  }
});

const MATCHES = `    matchImages:
      - "*.dkr.ecr.*.amazonaws.com"
      - registry.example:5000/team
`;
const ENV_VALUE = "        value: pull";
const WRONG: readonly (readonly [line: string, replacement: string, expected: string])[] = [
  [
    "kubelet.config.k8s.io/v1",
    "kubelet.config.k8s.io/v1beta1",
    '2:13: apiVersion: found "kubelet.config.k8s.io/v1beta1", expected kubelet.config.k8s.io/v1, since older ones are not read',
  ],
  [
    "kind: CredentialProviderConfig",
    "kind: KubeletConfiguration",
    '3:7: kind: found "KubeletConfiguration", expected CredentialProviderConfig',
  ],
  [
    "apiVersion: credentialprovider.kubelet.k8s.io/v1",
    "apiVersion: credentialprovider.kubelet.k8s.io/v1alpha1",
    '10:17: providers[0].apiVersion: found "credentialprovider.kubelet.k8s.io/v1alpha1", expected credentialprovider.kubelet.k8s.io/v1, since older ones are not read',
  ],
  [
    "name: team-provider_1.0",
    "name: ../team-provider_1.0",
    '5:11: providers[0].name: found "../team-provider_1.0", expected the name of a file in binDir, of letters, digits, dots, - and _',
  ],
  [
    "name: team-provider_1.0",
    "name: ..",
    '5:11: providers[0].name: found "..", expected the name of a file in binDir, of letters, digits, dots, - and _',
  ],
  [
    MATCHES,
    "    matchImages: []\n",
    '6:18: providers[0].matchImages: found an empty list, expected at least one image pattern, such as "*.registry.example/team"',
  ],
  [
    MATCHES,
    "",
    '5:5: providers[0].matchImages: found nothing, expected at least one image pattern, such as "*.registry.example/team"',
  ],
  [
    MATCHES,
    "    matchImages: a.example\n",
    "6:18: providers[0].matchImages: found a string, expected a list of at most 256 items",
  ],
  [
    "- registry.example:5000/team",
    '- "registry.example /team"',
    `8:9: providers[0].matchImages[1]: found "registry.example /team", expected host[:port][/path], * within the host's labels`,
  ],
  [
    "defaultCacheDuration: 12h0m0s",
    "defaultCacheDuration: 1 day",
    '9:27: providers[0].defaultCacheDuration: found "1 day", expected a duration such as "12h0m0s", or "0s" to keep nothing',
  ],
  [
    "defaultCacheDuration: 12h0m0s",
    "defaultCacheDuration: -1h",
    '9:27: providers[0].defaultCacheDuration: found "-1h", expected a duration such as "12h0m0s", or "0s" to keep nothing',
  ],
  [
    "args: [get-credentials]",
    "args: [5]",
    "11:12: providers[0].args[0]: found no text, expected text: put it in quotes",
  ],
  [
    ENV_VALUE,
    "        value: 7777",
    "14:16: providers[0].env[0].value: found no text, expected text: put it in quotes",
  ],
  [
    ENV_VALUE,
    "        valu: s3cret",
    '13:9: providers[0].env[0]: found the unknown key "valu", expected one of name, value',
  ],
  [
    "    args: [get-credentials]",
    "    tokenAttributes: { serviceAccountTokenAudience: a }",
    "11:22: providers[0].tokenAttributes: not available: there is no pod here whose service account's token a plugin could have; remove it, and let the plugin log in as this machine or by its env",
  ],
  ["providers:", "others: []\nproviders: &all", 'found the unknown key "others"'],
  [ENV_VALUE, '        value: "s3cret', "not valid YAML: Missing closing"],
  [ENV_VALUE, "        value: *s3cret", "not valid YAML: found an alias of nothing"],
  [ENV_VALUE, "        value: s3cret\n        value: s3cret", "not valid YAML: Map keys must be"],
  [ENV_VALUE, "        value: !s3cret x", "not valid YAML: Unresolved tag"],
];

t.test("what is wrong is told with its place, and no secret with it", async (t) => {
  for (const [line, replacement, expected] of WRONG) {
    const settings = folderWith(t, withLine(line, replacement));
    const problems = checkKubeletProviders(settings);
    t.equal(problems.length, 1, `${expected}: ${problems.join("\n")}`);
    t.match(problems[0], expected);
    t.match(problems[0], settings.configFile);
    t.notMatch(problems[0], /s3cret|7777/);
  }
});

t.test("a file that is something else altogether is refused", async (t) => {
  const rows: readonly (readonly [text: string, expected: RegExp])[] = [
    ["", /found nothing, expected a mapping/],
    ["- a\n", /found a list of 1, expected a mapping/],
    [GOOD.slice(0, GOOD.indexOf("  - name")), /providers: found nothing, expected at least one/],
    [`${GOOD}---\n${GOOD}`, /not valid YAML/],
    ["[".repeat(60_000), /not valid YAML/],
    [`${GOOD}#${"x".repeat(70_000)}`, /larger than 65536 characters/],
    [
      `a: &a [x, x, x, x, x, x, x]\n${"bcdefghij".replaceAll(
        /./g,
        (key) =>
          `${key}: &${key} [${Array(8)
            .fill(`*${previous(key)}`)
            .join(", ")}]\n`,
      )}`,
      /too many aliases of aliases/,
    ],
  ];
  for (const [text, expected] of rows) {
    const problems = checkKubeletProviders(folderWith(t, text));
    t.match(problems[0], expected, expected.source);
  }
});

t.test("a name that comes twice is refused", async (t) => {
  const provider = GOOD.slice(GOOD.indexOf("  - name"));
  t.match(checkKubeletProviders(folderWith(t, GOOD + provider)), [
    /providers\[1\]\.name: found "team-provider_1\.0", expected each name once$/,
  ]);
});

t.test("a plugin that is not there, or may not be run, is refused", async (t) => {
  const missing = folderWith(t, withLine("name: team-provider_1.0", "name: missing"));
  t.match(checkKubeletProviders(missing), [
    /provider missing: .*bin\/missing is not an executable file; put the plugin there/,
  ]);
  const settings = folderWith(t, GOOD);
  chmodSync(join(settings.binDir, "team-provider_1.0"), 0o644);
  t.match(checkKubeletProviders(settings), [/is not an executable file/]);
});

t.test("a file that cannot be read fails the look-up until it can be", async (t) => {
  const settings = folderWith(t, GOOD);
  const configFile = join(settings.binDir, "later.yaml");
  t.match(checkKubeletProviders({ ...settings, configFile }), [
    /later\.yaml: cannot be read \(ENOENT\)/,
  ]);
  const providers = new KubeletProviders({ ...settings, configFile });
  const image = { registry: "other.example", repository: "x" };
  const unreadable = { name: "CredentialError", message: /later\.yaml: cannot be read \(ENOENT\)/ };
  await t.rejects(providers.find(image), unreadable);
  writeFileSync(configFile, withLine("kind: CredentialProviderConfig", "kind: Other"));
  const broken = { name: "CredentialError", message: /later\.yaml:3:7: kind: found "Other"/ };
  await t.rejects(providers.find(image), broken);
  writeFileSync(configFile, GOOD);
  t.same(await providers.find(image), []);
});

function previous(key: string): string {
  return String.fromCharCode(key.charCodeAt(0) - 1);
}
