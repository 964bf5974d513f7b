import { LRUCache } from "lru-cache";
import type { RepositoryName } from "../../storage/metadata-store.ts";
import type { Manifest } from "../cache/manifest-cache.ts";
import type { Source } from "../cache/source.ts";
import { nameOf } from "../cache/source.ts";
import type { Decision } from "../decision.ts";
import { POLICY_LIMITS } from "../limits.ts";

/** Of a decision beside its texts, and of one of its checks. */
const ENTRY_BYTES = 1024;
const CHECK_BYTES = 256;

/** A media type is no part of the bytes: under another one the same bytes are judged again. */
type Judged = Pick<Manifest, "digest" | "mediaType">;

interface Kept {
  readonly decision: Decision;
  untilMs: number;
}

/** What a manifest that is in memory was last found to be, and where it was asked for. */
interface Seen {
  readonly upstream: string;
  readonly repository: string;
  readonly kept: Kept;
}

/**
 * Decisions of one policy and one trust revision, by repository and digest: never by tag, and never
 * one that could not be reached. A change of policy or trust begins with an empty one.
 */
export class VerdictCache {
  readonly #decisions: LRUCache<string, Kept>;
  readonly #seen = new WeakMap<Manifest, Seen>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    const { verdictsMax: max, verdictBytesMax: maxSize } = POLICY_LIMITS;
    this.#decisions = new LRUCache({ max, maxSize, sizeCalculation: sizeOf });
  }

  get(repository: RepositoryName, judged: Judged): Decision | undefined {
    return this.#decisionOf(this.#decisions.get(keyOf(repository, judged)));
  }

  /** As `get`, for the hottest path of all: a manifest that was asked for before is known itself. */
  peek(source: Source, manifest: Manifest): Decision | undefined {
    const seen = this.#seen.get(manifest);
    if (seen?.upstream === source.upstream.name && seen.repository === source.repository) {
      const decision = this.#decisionOf(seen.kept);
      if (decision !== undefined) {
        return decision;
      }
    }
    const kept = this.#decisions.get(keyOf(nameOf(source), manifest));
    if (kept !== undefined) {
      const { upstream, repository } = source;
      this.#seen.set(manifest, { upstream: upstream.name, repository, kept });
    }
    return this.#decisionOf(kept);
  }

  #decisionOf(kept: Kept | undefined): Decision | undefined {
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
      const kept = this.#decisions.peek(key);
      if (kept?.decision.verdict === "deny") {
        kept.untilMs = Number.NEGATIVE_INFINITY;
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
