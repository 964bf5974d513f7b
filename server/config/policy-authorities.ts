import { checkSubjectGlob } from "../glob.ts";
import { checkTrustedSubject } from "../policy/notation/distinguished-name.ts";
import type { TrustedRootNeeds } from "../policy/trust/trusted-root.ts";
import { checkPublicKey, checkTrustedRoot } from "../policy/trust/trusted-root.ts";
import type {
  AuthoritySettings,
  KeylessSettings,
  KeySettings,
  NotationSettings,
  SignatureSettings,
  SubjectSettings,
  TrustedRootSettings,
} from "../policy-settings.ts";
import type { Path } from "./nodes.ts";
import type {
  AuthorityDraft,
  KeyDraft,
  KeylessDraft,
  NotationDraft,
  SeveralDraft,
} from "./policy-draft.ts";
import type { PolicyFiles } from "./policy-files.ts";
import type { ConfigScope } from "./scope.ts";

type Log = "require" | "ignore";

/** Reads who may sign; what is incomplete has been reported, and is left out. */
export class AuthorityReader {
  readonly #scope: ConfigScope;
  readonly #files: PolicyFiles;

  constructor(scope: ConfigScope, files: PolicyFiles) {
    this.#scope = scope;
    this.#files = files;
  }

  /** `any` or `all`, with their list. */
  several(path: Path, draft: SeveralDraft | undefined): SignatureSettings | undefined {
    const require = draft?.any === undefined ? "all" : "any";
    const list = draft?.[require] ?? [];
    const authorities = list
      .map((one, index) => this.one([...path, require, index], one, "require"))
      .filter((one) => one !== undefined);
    return authorities.length === 0 ? undefined : { require, authorities };
  }

  /** @param keyLog - what a key says of the log when it says nothing. */
  one(path: Path, draft: AuthorityDraft | undefined, keyLog: Log): AuthoritySettings | undefined {
    if (draft?.keyless !== undefined) {
      return this.#keyless([...path, "keyless"], draft.keyless);
    }
    if (draft?.key !== undefined) {
      return this.#key([...path, "key"], draft.key, keyLog);
    }
    return draft?.notation && this.#notation([...path, "notation"], draft.notation);
  }

  #keyless(path: Path, draft: KeylessDraft): KeylessSettings | undefined {
    const { issuer, log = "require" } = draft;
    const subject = this.#subject(path, draft);
    const needs = { certificates: true, log: log === "require", timestamps: log === "ignore" };
    const trustedRoot = this.#trustedRoot(path, draft.trustedRootFile, needs);
    return issuer === undefined || subject === undefined || trustedRoot === undefined
      ? undefined
      : { kind: "keyless", issuer, subject, trustedRoot, log };
  }

  #subject(path: Path, { subject, subjectGlob }: KeylessDraft): SubjectSettings | undefined {
    const scope = this.#scope;
    const isGiven = ["subject", "subjectGlob"].filter((key) => scope.has([...path, key]));
    if (isGiven.length === 0) {
      scope.problem(path, "found no subject, expected subject or subjectGlob", "key");
    } else if (isGiven.length === 2) {
      const message = "found subject and subjectGlob, expected one of them";
      scope.problem([...path, "subjectGlob"], message, "key");
    }
    if (subject?.includes("*")) {
      scope.mismatch([...path, "subject"], "subjectGlob for a text with *");
    }
    if (subjectGlob !== undefined) {
      const place = [...path, "subjectGlob"];
      const problem = checkSubjectGlob(subjectGlob);
      if (problem !== undefined) {
        scope.problem(place, `found ${scope.quote(place)}: ${problem}`);
      }
      return { glob: subjectGlob };
    }
    return subject === undefined ? undefined : { exact: subject };
  }

  #key(path: Path, draft: KeyDraft, keyLog: Log): KeySettings | undefined {
    const { log = keyLog } = draft;
    const place = [...path, "file"];
    const named = this.#files.text(place, draft.file);
    const problem = named && checkPublicKey(named.text);
    if (problem !== undefined) {
      this.#scope.problem(place, `found ${this.#scope.quote(place)} which ${problem}`);
    }
    if (log === "ignore" && draft.trustedRootFile !== undefined) {
      const message = "found trustedRootFile, which nothing reads when the log is ignored";
      this.#scope.problem([...path, "trustedRootFile"], `${message}, expected log: require`, "key");
    }
    const needs = { certificates: false, log: log === "require", timestamps: false };
    const trustedRoot = this.#trustedRoot(path, draft.trustedRootFile, needs);
    return named === undefined || trustedRoot === undefined
      ? undefined
      : { kind: "key", file: named.file, pem: named.text, log, trustedRoot };
  }

  #trustedRoot(
    path: Path,
    name: string | undefined,
    needs: TrustedRootNeeds,
  ): TrustedRootSettings | undefined {
    const place = [...path, "trustedRootFile"];
    if (!this.#scope.has(place)) {
      return "public-good";
    }
    const named = this.#files.text(place, name);
    const problem = named && checkTrustedRoot(named.text, needs);
    if (problem !== undefined) {
      this.#scope.problem(place, `found ${this.#scope.quote(place)} which ${problem}`);
    }
    return named && { file: named.file, json: named.text };
  }

  #notation(path: Path, draft: NotationDraft): NotationSettings | undefined {
    const store = this.#files.trustStore([...path, "trustStoreDir"], draft.trustStoreDir);
    const subjects = (draft.subjects ?? []).filter((subject, index): subject is string => {
      const place = [...path, "subjects", index];
      const problem = subject === undefined ? undefined : checkTrustedSubject(subject);
      if (problem !== undefined) {
        this.#scope.problem(place, `found ${this.#scope.quote(place)} which ${problem}`);
      }
      return subject !== undefined;
    });
    if (subjects.length > 1 && subjects.includes("*")) {
      const message = `found "*" beside other subjects, expected "*" alone, or none`;
      this.#scope.problem([...path, "subjects", subjects.indexOf("*")], message);
    }
    return (
      store && {
        kind: "notation",
        trustStoreDir: store.folder,
        certificates: store.certificates,
        subjects,
      }
    );
  }
}
