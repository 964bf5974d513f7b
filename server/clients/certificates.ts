import type { CertificateNames } from "./certificate-names.ts";
import { readCertificateNames, writeSubject } from "./certificate-names.ts";
import { LogInProblem } from "./clients-error.ts";
import type { Identity, PresentedCertificate } from "./identity.ts";
import { problemOfName } from "./names.ts";

const COMMON_NAME = "2.5.4.3";
const ORGANISATION = "2.5.4.10";
/** A name that could be somebody else's whole subject, as writeSubject has it. */
const SUBJECT_LIKE = /^(?:[0-9.]+|CN|L|ST|OU?|C|street|DC|UID|serialNumber|emailAddress)=/;

/**
 * Who a client's certificate names. `subject`: its CN, with the organisations (O) as groups, as
 * Kubernetes has it; rules may also name the whole subject as RFC 4514 writes it. `san`: its
 * alternative names, the first URI (a SPIFFE ID) before DNS, e-mail and IP addresses.
 */
export class Certificates {
  readonly #nameFrom: "subject" | "san";
  /** Parsed once a connection. */
  readonly #known = new WeakMap<PresentedCertificate, Identity>();

  constructor(nameFrom: "subject" | "san") {
    this.#nameFrom = nameFrom;
  }

  /**
   * Undefined for a certificate that is not trusted: anybody can make one.
   *
   * @throws LogInProblem when it is trusted, and names nobody.
   */
  identify(certificate: PresentedCertificate | undefined): Identity | undefined {
    if (certificate?.isTrusted !== true) {
      return;
    }
    const known = this.#known.get(certificate);
    if (known !== undefined) {
      return known;
    }
    const names = readNames(certificate.raw);
    const identity = this.#nameFrom === "san" ? bySan(names) : bySubject(names);
    this.#known.set(certificate, identity);
    return identity;
  }
}

function readNames(raw: Buffer): CertificateNames {
  try {
    return readCertificateNames(raw);
  } catch (cause) {
    throw new LogInProblem("the names in the client's certificate cannot be read", { cause });
  }
}

function bySubject(names: CertificateNames): Identity {
  const [name, ...others] = textsOf(names, COMMON_NAME, "CN");
  if (name === undefined || others.length > 0) {
    const count = name === undefined ? "no CN" : "more than one CN";
    throw new LogInProblem(`the client's certificate has ${count} in its subject`);
  }
  if (SUBJECT_LIKE.test(name)) {
    throw new LogInProblem("the CN of the client's certificate looks like a whole subject");
  }
  const groups = textsOf(names, ORGANISATION, "O");
  const subject = writeSubject(names);
  const isOther = problemOfName(subject) === undefined && subject !== name;
  return { name, names: isOther ? [name, subject] : [name], groups, method: "certificate" };
}

function textsOf(names: CertificateNames, oid: string, type: string): readonly string[] {
  const found = names.subject.flat().filter((attribute) => attribute.oid === oid);
  return found.map(({ text }) => {
    const problem = text === undefined ? "is no text" : problemOfName(text);
    if (problem !== undefined || text === undefined) {
      throw new LogInProblem(`the ${type} of the client's certificate ${problem}`);
    }
    return text;
  });
}

function bySan({ alternatives }: CertificateNames): Identity {
  const [name] = alternatives;
  if (name === undefined) {
    throw new LogInProblem("the client's certificate has no alternative name (SAN)");
  }
  const problem = alternatives.map(problemOfName).find((found) => found !== undefined);
  if (problem !== undefined) {
    throw new LogInProblem(`an alternative name of the client's certificate ${problem}`);
  }
  return { name, names: alternatives, groups: [], method: "certificate" };
}
