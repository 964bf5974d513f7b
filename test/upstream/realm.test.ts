import t from "tap";
import { REGISTRY_PROFILES } from "../../server/registry-profiles.ts";
import { pullScopesOf, RealmPolicy } from "../../server/upstream/realm.ts";
import { TargetPolicy } from "../../server/upstream/targets.ts";

interface Asked {
  readonly url: string;
  readonly realm: string;
  readonly tokenHosts?: readonly string[];
}

function mayHaveCredential({ url, realm, tokenHosts = [] }: Asked): boolean {
  const settings = { name: "team.example", urls: [url], tokenHosts, redirectHosts: [] };
  const policy = new RealmPolicy(settings, new TargetPolicy(settings));
  return policy.judge(realm, new URL(url)).mayHaveCredential;
}

t.test("a registry's own token service gets the credential, wherever it is known to be", (t) => {
  const cases: readonly [registry: string, realm: string][] = [
    ["registry-1.docker.io", "https://auth.docker.io/token"],
    ["index.docker.io", "https://auth.docker.io/token"],
    ["registry.hub.docker.com", "https://auth.docker.io/token"],
    ["ghcr.io", "https://ghcr.io/token"],
    ["quay.io", "https://quay.io/v2/auth"],
    ["registry.gitlab.com", "https://gitlab.com/jwt/auth"],
    ["public.ecr.aws", "https://public.ecr.aws/token/"],
    ["us-docker.pkg.dev", "https://us-docker.pkg.dev/v2/token"],
    ["eu.gcr.io", "https://eu.gcr.io/v2/token"],
    ["team.azurecr.io", "https://team.azurecr.io/oauth2/token"],
    ["docker.elastic.co", "https://docker-auth.elastic.co/auth"],
    ["registry.connect.redhat.com", "https://sso.redhat.com/auth/realms/rhc4tp"],
    ["registry.digitalocean.com", "https://api.digitalocean.com/v2/registry/auth"],
    ["harbor.example:8443", "https://harbor.example:9443/service/token"],
    ["harbor.example", "https://HARBOR.example./service/token"],
  ];
  for (const [registry, realm] of cases) {
    t.equal(mayHaveCredential({ url: `https://${registry}`, realm }), true, realm);
  }
  t.end();
});

t.test("no name that only looks like it does", (t) => {
  const cases: readonly [registry: string, realm: string][] = [
    ["registry-1.docker.io", "https://auth.docker.io.evil.example/token"],
    ["registry-1.docker.io", "https://evil-auth.docker.io/token"],
    ["registry-1.docker.io", "https://xauth.docker.io/token"],
    ["registry-1.docker.io", "https://docker.io/token"],
    ["registry-1.docker.io", "https://evil.example/auth.docker.io/token"],
    ["registry-1.docker.io", "https://gitlab.com/jwt/auth"],
    ["docker.io.evil.example", "https://auth.docker.io/token"],
    ["evil-docker.io", "https://auth.docker.io/token"],
    ["team.azurecr.io", "https://other.azurecr.io/oauth2/token"],
    ["us-docker.pkg.dev", "https://eu-docker.pkg.dev/v2/token"],
    ["eu.gcr.io", "https://gcr.io/v2/token"],
    ["1.dkr.ecr.eu-west-1.amazonaws.com", "https://2.dkr.ecr.eu-west-1.amazonaws.com/"],
    ["registry.gitlab.example", "https://gitlab.com/jwt/auth"],
    ["__proto__.example", "https://constructor.example/token"],
  ];
  for (const [registry, realm] of cases) {
    t.equal(mayHaveCredential({ url: `https://${registry}`, realm }), false, realm);
  }
  t.end();
});

t.test("a configured token host does, and its neighbours do not", (t) => {
  const url = "https://registry.gitlab.example";
  const tokenHosts = ["gitlab.example"];
  const may = (realm: string): boolean => mayHaveCredential({ url, realm, tokenHosts });
  t.equal(may("https://gitlab.example/jwt/auth"), true);
  t.equal(may("https://gitlab.example:8443/jwt/auth"), true);
  t.equal(may("https://www.gitlab.example/jwt/auth"), false);
  t.equal(may("https://gitlab.example.evil.example/jwt/auth"), false);
  t.end();
});

t.test("a table of plain host names, so that a wrong row cannot match more than itself", (t) => {
  for (const [name, { tokenHosts = [], aliases = [] }] of Object.entries(REGISTRY_PROFILES)) {
    for (const host of [name, ...tokenHosts, ...aliases]) {
      t.match(host, /^(?:[a-z0-9-]+\.)+[a-z]{2,}$/, host);
    }
  }
  t.end();
});

t.test("scopes: pull, of the repository that is pulled, as the registry spells it", (t) => {
  const cases: readonly [asked: string | undefined, scopes: readonly string[]][] = [
    [undefined, ["repository:team/app:pull"]],
    ["", ["repository:team/app:pull"]],
    ["aws", ["aws"]],
    ["repository:team/app:pull", ["repository:team/app:pull"]],
    ["repository:team/app:pull,push", ["repository:team/app:pull"]],
    ["repository:images/team/app:*", ["repository:images/team/app:pull"]],
    ["repository(plugin):team/app:pull", ["repository:team/app:pull"]],
    ["repository:team/secret:pull", ["repository:team/app:pull"]],
    ["repository:xteam/app:pull", ["repository:team/app:pull"]],
    ["registry:catalog:*", ["repository:team/app:pull"]],
  ];
  for (const [asked, scopes] of cases) {
    t.same(pullScopesOf(asked, "team/app"), scopes, String(asked));
  }
  t.end();
});
