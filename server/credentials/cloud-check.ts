import { isLoopbackHost } from "../loopback.ts";
import type { CloudAuth } from "../settings.ts";
import type { EcrRegistry } from "./cloud-hosts.ts";
import { isAcrHost, isEcrPublicHost, isGoogleHost, parseEcrHost } from "./cloud-hosts.ts";

type Provider = CloudAuth["provider"];

const OWNS: Readonly<Record<Provider, (host: string) => boolean>> = {
  ecr: (host) => parseEcrHost(host) !== undefined,
  "ecr-public": isEcrPublicHost,
  acr: isAcrHost,
  google: isGoogleHost,
};

const LOOKS_LIKE: Readonly<Record<Provider, string>> = {
  ecr: "ACCOUNT.dkr.ecr.REGION.amazonaws.com",
  "ecr-public": "public.ecr.aws",
  acr: "NAME.azurecr.io",
  google: "LOCATION-docker.pkg.dev or gcr.io",
};

/** Which keys only some providers know. */
const KEYS: Readonly<Record<"region" | "keyFile" | "clientId", Provider>> = {
  region: "ecr",
  keyFile: "google",
  clientId: "acr",
};

/**
 * Why a cloud's log-ins cannot work for an upstream, or would go to somebody else; undefined when
 * nothing speaks against it. Who gets them is decided here, by the configuration alone.
 *
 * @param name - the upstream's canonical name, with its port if it has one.
 */
export function checkCloudAuth(
  name: string,
  urls: readonly string[],
  auth: CloudAuth,
): string | undefined {
  const problems = [
    checkKeys(auth),
    checkEndpoint(auth.endpoint),
    ...urls.map((url) => checkUrl(name, url, auth)),
    checkRegion(name, urls, auth),
  ];
  return problems.find((problem) => problem !== undefined);
}

/** The registry that an upstream is, as far as its urls or its name tell. */
export function ecrRegistryOf(name: string, urls: readonly string[]): EcrRegistry | undefined {
  const hosts = [...urls.map((url) => URL.parse(url)?.hostname ?? ""), hostOf(name)];
  return hosts.map(parseEcrHost).find((registry) => registry !== undefined);
}

function checkKeys(auth: CloudAuth): string | undefined {
  for (const [key, provider] of Object.entries(KEYS)) {
    if (Reflect.get(auth, key) !== undefined && auth.provider !== provider) {
      return `${key} is for provider ${provider}, and provider is ${auth.provider}: remove ${key}`;
    }
  }
  return undefined;
}

function checkEndpoint(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) {
    return undefined;
  }
  const url = URL.parse(endpoint);
  if (url === null || !/^https?:$/.test(url.protocol) || /[?#]/.test(endpoint)) {
    return "endpoint has to be a url such as https://vpce.example, without ? and #";
  }
  if (url.username !== "" || url.password !== "") {
    return "endpoint has to be a url without user name and password";
  }
  return checkScheme(url, "endpoint");
}

function checkUrl(name: string, text: string, auth: CloudAuth): string | undefined {
  const url = URL.parse(text);
  if (url === null) {
    return `${text} is no url`;
  }
  const { provider } = auth;
  if (!OWNS[provider](url.hostname) && !isLoopbackHost(url.hostname) && !isMeant(name, url, auth)) {
    const remedy = REMEDIES[provider];
    return (
      `${url.hostname} would get log-ins of provider ${provider}, and is not one of its ` +
      `registries (${LOOKS_LIKE[provider]}): ${remedy}`
    );
  }
  return checkScheme(url, "url");
}

const REMEDIES: Readonly<Record<Provider, string>> = {
  ecr: "correct it, or set region if it stands before one",
  "ecr-public": "correct it, or set endpoint if it stands before it",
  acr: "correct it, or set endpoint to where log-ins are exchanged",
  google: "correct it, or give the upstream the registry's name and this as its url",
};

/** Another host is the operator's word when something beside it says what it stands for. */
function isMeant(name: string, url: URL, { provider, endpoint, region }: CloudAuth): boolean {
  const standsFor = OWNS[provider](hostOf(name)) && hostOf(name) !== url.hostname;
  switch (provider) {
    case "ecr":
      return standsFor || region !== undefined || endpoint !== undefined;
    case "ecr-public":
      return standsFor || endpoint !== undefined;
    case "acr": // what is exchanged there is good for every registry of the cloud
      return endpoint !== undefined;
    case "google": // endpoint says where tokens are from, not where they go
      return standsFor;
  }
}

function checkScheme(url: URL, key: string): string | undefined {
  return url.protocol === "http:" && !isLoopbackHost(url.hostname)
    ? `log-ins of a cloud are not sent to another machine by plain http: set ${key} to https`
    : undefined;
}

function checkRegion(name: string, urls: readonly string[], auth: CloudAuth): string | undefined {
  const isKnown = auth.region !== undefined || ecrRegistryOf(name, urls) !== undefined;
  return auth.provider === "ecr" && !isKnown
    ? `neither the name ${name} nor its url tells the AWS region: set region`
    : undefined;
}

function hostOf(name: string): string {
  return name.replace(/:\d+$/, "");
}
