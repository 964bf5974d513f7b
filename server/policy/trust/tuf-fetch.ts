import { POLICY_LIMITS } from "../../limits.ts";

export interface GuardedFetch {
  readonly fetch: typeof globalThis.fetch;
  /** How many files were asked for: with none, a failure is of this machine's making. */
  readonly requests: () => number;
  /** The last that could not be had, and why: then what the repository says was not even seen. */
  readonly problem: () => string | undefined;
}

/** Past the newest root, a repository says 404, or 403 when it is a bucket (TUF §5.3.3). */
const NEXT_ROOT_PATTERN = /\/\d+\.root\.json$/;

/**
 * What the TUF client leaves open: it follows redirects to anywhere, takes a file's length from
 * metadata that an online key signs, and a hash out of them as a part of the path. Here only the
 * mirror is asked, nothing else, and a file ends at a bound.
 */
export function guardFetch(plain: typeof globalThis.fetch, mirror: string): GuardedFetch {
  let requests = 0;
  let problem: string | undefined;
  const note = (path: string, error: unknown): void => {
    problem = `${path}: ${reasonOf(error)}`;
  };
  const guarded: typeof globalThis.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (!url.startsWith(`${mirror}/`)) {
      throw new Error("the repository names a file outside of itself");
    }
    const path = url.slice(mirror.length);
    requests += 1;
    let response: Response;
    try {
      response = await plain(url, { ...init, redirect: "error" });
    } catch (error) {
      note(path, error);
      throw error;
    }
    if (!response.ok && !(isMissing(response) && NEXT_ROOT_PATTERN.test(path))) {
      note(path, new Error(`status ${response.status}`));
    }
    const { body, status } = response;
    if (!response.ok || body === null) {
      await body?.cancel();
      return new Response(null, { status });
    }
    return new Response(ReadableStream.from(bounded(body, (error) => note(path, error))));
  };
  return { fetch: guarded, requests: () => requests, problem: () => problem };
}

async function* bounded(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  failed: (error: unknown) => void,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let seenBytes = 0;
  const reader = body.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        failed(error);
        throw error;
      });
      if (done) {
        return;
      }
      seenBytes += value.byteLength;
      if (seenBytes > POLICY_LIMITS.trustBytesMax) {
        throw new Error(`a file is larger than ${POLICY_LIMITS.trustBytesMax} bytes`);
      }
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function isMissing({ status }: Response): boolean {
  return status === 404 || status === 403;
}

/** fetch says only that it failed; what it met stands in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  return error.cause instanceof Error ? error.cause.message : error.message;
}
