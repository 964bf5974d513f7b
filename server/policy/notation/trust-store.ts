import { X509Certificate } from "node:crypto";
import type { Certificate } from "./certificate.ts";
import type { Chain } from "./chain.ts";
import type { DistinguishedName } from "./distinguished-name.ts";
import { parseDistinguishedName } from "./distinguished-name.ts";

/** Certificates that are trusted as they are, byte by byte: never by name or key alone. */
export class TrustStore {
  readonly #fingerprints: ReadonlySet<string>;

  /**
   * @param certificates PEM, one each.
   * @throws Error when one cannot be read.
   */
  constructor(certificates: readonly string[]) {
    this.#fingerprints = new Set(
      certificates.map((pem) => new X509Certificate(pem).fingerprint512),
    );
  }

  /**
   * Whether one of the chain's certificates is in the store: its root, or one below that was put
   * there on purpose. What makes a chain of them is not looked at.
   */
  holdsOneOf(chain: Chain): boolean {
    return chain.some(({ x509 }) => this.#fingerprints.has(x509.fingerprint512));
  }
}

/** Whose leaves count, compiled from NotationSettings.subjects. */
export class TrustedSubjects {
  readonly #isAnyTrusted: boolean;
  readonly #names: readonly DistinguishedName[];

  /** @throws SyntaxError for what checkTrustedSubject would refuse. */
  constructor(subjects: readonly string[]) {
    this.#isAnyTrusted = subjects.includes("*");
    this.#names = subjects.filter((text) => text !== "*").map(parseDistinguishedName);
  }

  /**
   * Whether the leaf's subject has all attributes of one of the names, each with exactly that value
   * and no second one: with two, a reader could not tell which is meant.
   */
  include({ subject }: Certificate): boolean {
    return this.#isAnyTrusted || this.#names.some((name) => isPartOf(name, subject));
  }
}

function isPartOf(name: DistinguishedName, subject: DistinguishedName): boolean {
  return name.every(({ type, value }) => {
    const values = subject.filter((attribute) => attribute.type === type);
    return values.length === 1 && values[0]?.value === value;
  });
}
