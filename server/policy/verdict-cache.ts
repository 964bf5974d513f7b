import { LRUCache } from "lru-cache";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Decision } from "../decision.ts";
import { POLICY_LIMITS } from "../limits.ts";

/** Of a decision beside its texts, and of one of its checks. */
const ENTRY_BYTES = 1024;
const CHECK_BYTES = 256;

/** A media type is no part of the bytes: under another one the same bytes are judged again. */
type Judged = Pick<Manifest, "digest" | "mediaType">;

interface Kept {
  readonly decision: Decision;
  readonly untilMs: number;
}

/**
 * Decisions of one policy and one trust revision, by repository and digest: never by tag, and never
 * one that could not be reached. A change of policy or trust begins with an empty one.
 */
export class VerdictCache {
  readonly #decisions: LRUCache<string, Kept>;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    const { verdictsMax: max, verdictBytesMax: maxSize } = POLICY_LIMITS;
    this.#decisions = new LRUCache({ max, maxSize, sizeCalculation: sizeOf });
  }

  get(repository: RepositoryName, judged: Judged): Decision | undefined {
    const kept = this.#decisions.get(keyOf(repository, judged));
    const nowMs = this.#now();
    // A clock that was set back would keep it for as long again.
    const holds = kept !== undefined && nowMs >= kept.decision.decidedAtMs && nowMs < kept.untilMs;
    return holds ? kept.decision : undefined;
  }

  /** When a decision stops to hold; in a moment, when it is not held at all. */
  untilMs(repository: RepositoryName, judged: Judged): number {
    const kept = this.#decisions.get(keyOf(repository, judged));
    return kept?.untilMs ?? this.#now() + POLICY_LIMITS.denyMs;
  }

  put(repository: RepositoryName, judged: Judged, decided: Decided): void {
    const { decision, validUntilMs = Number.POSITIVE_INFINITY } = decided;
    if (decision.verdict === "indeterminate") {
      return;
    }
    const { allowMs, denyMs } = POLICY_LIMITS;
    const untilMs = this.#now() + (decision.verdict === "allow" ? allowMs : denyMs);
    this.#decisions.set(keyOf(repository, judged), {
      decision,
      untilMs: Math.min(untilMs, validUntilMs),
    });
  }

  /** Of images whose index came by later, and is allowed: whoever pulls that wants them at once. */
  forgetDenials(repository: RepositoryName, children: readonly Judged[]): void {
    for (const child of children) {
      const key = keyOf(repository, child);
      if (this.#decisions.peek(key)?.decision.verdict === "deny") {
        this.#decisions.delete(key);
      }
    }
  }
}

/** In bytes, roughly: the texts, and what stands around them. */
function sizeOf({ decision: { message, signers, checks } }: Kept): number {
  const said = checks.map(({ authority, signer = "", problem = "" }) => {
    return CHECK_BYTES + authority.length + signer.length + problem.length;
  });
  return [...said, ...signers.map(({ length }) => length)].reduce(
    (sum, bytes) => sum + bytes,
    ENTRY_BYTES + message.length,
  );
}

function keyOf(repository: RepositoryName, { digest, mediaType }: Judged): string {
  return `${repository}@${digest} ${mediaType}`;
}

/** A decision, and when it stops to hold by itself. */
export interface Decided {
  readonly decision: Decision;
  readonly validUntilMs?: number | undefined;
}
