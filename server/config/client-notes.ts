import { isLoopbackHost } from "../loopback.ts";
import type { AccessRuleSettings, ClientSettings, Settings } from "../settings.ts";
import { shadowedRules } from "./access-order.ts";

/** Of who may pull, and of the admin port: what is no mistake and still worth a look. */
export function clientNotes(settings: Settings): readonly string[] {
  const { admin, adminTokenFile, clients } = settings;
  const isAdminOpen = !isLoopbackHost(admin.host) && adminTokenFile === undefined;
  return [
    ...(isAdminOpen
      ? [
          "admin is open to other machines without adminTokenFile: they may read metrics, and change nothing",
        ]
      : []),
    ...(clients === undefined ? [] : notesOf(clients, settings)),
  ];
}

function notesOf(clients: ClientSettings, { listen, tls, upstreams }: Settings): readonly string[] {
  const { htpasswdFile, tokens, anonymous, rules } = clients;
  const sendsSecrets = htpasswdFile !== undefined || tokens.length > 0;
  const isInTheClear = sendsSecrets && tls === undefined && !isLoopbackHost(listen.host);
  return [
    ...(isInTheClear
      ? ["clients log in without tls: who is on the way reads their passwords and tokens"]
      : []),
    ...(anonymous && rules === undefined
      ? ["clients.anonymous is true without clients.rules: whoever can connect pulls everything"]
      : []),
    ...upstreams
      .filter(({ access }) => access === "per-client" && sendsSecrets)
      .flatMap(({ name }) => headerNote(name, clients)),
    ...(hasGroups(clients) ? [] : rulesForGroups(rules ?? [])).map(
      (rule) =>
        `clients.rules[${rule}] names a group: only tokens, and certificates by subject, have groups`,
    ),
    ...shadowedRules(rules ?? []).map(
      ([rule, before]) =>
        `clients.rules[${rule}] matches nothing that clients.rules[${before}] before it does not match`,
    ),
  ];
}

function hasGroups({ tokens, certificates }: ClientSettings): boolean {
  return tokens.length > 0 || certificates?.name === "subject";
}

function rulesForGroups(rules: readonly AccessRuleSettings[]): readonly number[] {
  return rules.flatMap(({ who }, index) =>
    who.some((one) => one.startsWith("group:")) ? [index] : [],
  );
}

/** One header, and two that want a log-in in it. */
function headerNote(upstream: string, clients: ClientSettings): readonly string[] {
  if (clients.certificates !== undefined) {
    return [];
  }
  const place = `upstream ${upstream} is per-client, and a request has one Authorization header`;
  return clients.anonymous
    ? [`${place}: whoever logs in there with it is anonymous here`]
    : [
        `${place}: whoever logs in here with it cannot log in there; for that, let clients in by certificates or anonymous`,
      ];
}
