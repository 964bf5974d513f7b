import { compileGlob } from "../glob.ts";
import type { AccessRuleSettings } from "../settings.ts";
import { ClientsError } from "./clients-error.ts";
import type { Identity } from "./identity.ts";

type Test<T> = (value: T) => boolean;

interface Rule {
  readonly isFor: Test<Identity>;
  readonly allows: Test<string>;
}

/** Which repositories whom they know may pull. */
export class AccessRules {
  readonly #rules: readonly Rule[] | undefined;

  /**
   * @param settings - undefined: everybody who is let in pulls everything.
   * @throws ClientsError for a `who` that is of no known kind.
   */
  constructor(settings: readonly AccessRuleSettings[] | undefined) {
    this.#rules = settings?.map(({ who, pull }) => ({
      isFor: anyOf(who.map(compileWho)),
      allows: anyOf(pull.map(compileGlob)),
    }));
  }

  /** @param name - the canonical `upstream/repository`. */
  allow(identity: Identity, name: string): boolean {
    const rules = this.#rules;
    return rules === undefined || rules.some((rule) => rule.isFor(identity) && rule.allows(name));
  }
}

function anyOf<T>(tests: readonly Test<T>[]): Test<T> {
  return (value) => tests.some((test) => test(value));
}

function compileWho(who: string): Test<Identity> {
  if (who === "*") {
    return () => true;
  }
  if (who === "anonymous") {
    // Not by name: a user may be called that, too.
    return ({ method }) => method === "anonymous";
  }
  const [, kind, glob = ""] = /^(user|group):(.+)$/su.exec(who) ?? [];
  if (kind === undefined) {
    throw new ClientsError(
      "clients.rules: each of who is user:NAME, group:NAME, anonymous or *; one of them is not",
    );
  }
  const fits = compileGlob(glob);
  return kind === "user" ? ({ names }) => names.some(fits) : ({ groups }) => groups.some(fits);
}
