import type { AuthoritySettings, PolicySettings } from "../policy-settings.ts";

/** Everyone whom a policy names, in the order of the file. */
export function policyAuthorities({ rules, deny }: PolicySettings): readonly AuthoritySettings[] {
  return [
    ...rules.flatMap(({ signatures, attestations }) => [
      ...(signatures?.authorities ?? []),
      ...attestations.flatMap(({ by }) => by.authorities),
    ]),
    ...deny.flatMap((one) => ("signer" in one ? [one.signer] : [])),
  ];
}

/** Keys and trusted roots by file, and the folders of trust stores: what makes another policy. */
export function policySources(policy: PolicySettings | undefined): {
  readonly files: readonly string[];
  readonly folders: readonly string[];
} {
  const authorities = policy === undefined ? [] : policyAuthorities(policy);
  return {
    files: authorities.flatMap((one) => [
      ...(one.kind === "key" ? [one.file] : []),
      ...(one.kind !== "notation" && one.trustedRoot !== "public-good"
        ? [one.trustedRoot.file]
        : []),
    ]),
    folders: authorities.flatMap((one) => (one.kind === "notation" ? [one.trustStoreDir] : [])),
  };
}
