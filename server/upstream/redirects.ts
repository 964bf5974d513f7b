import { RegistryError } from "../errors.ts";
import { headerOf } from "./answer-headers.ts";
import type { Answer } from "./exchange.ts";
import { AttemptFailure, TargetRefusedError } from "./failure.ts";
import type { TargetPolicy } from "./targets.ts";
import { isSameOrigin } from "./targets.ts";

const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

export interface RedirectOptions {
  readonly targets: TargetPolicy;
  readonly redirectsMax: number;
  /** Of whom, for messages: `docker.io`. */
  readonly from: string;
  /** A status that is an answer here, and not followed. */
  readonly except?: number | undefined;
  /** Sends one request. `isSameOrigin` is false where our credentials must not go. */
  readonly send: (url: URL, isSameOrigin: boolean) => Promise<Answer>;
  /** Lets go of an answer whose body nobody wants. */
  readonly release: (answer: Answer) => Promise<unknown>;
}

export interface Followed {
  readonly answer: Answer;
  /** It came from somewhere else than the url that was asked: another origin. */
  readonly isElsewhere: boolean;
  /** The url that was asked sent us on, if only to another path. */
  readonly isRedirected: boolean;
}

/**
 * Follows redirects by hand, so that each target is judged and credentials stay at home.
 *
 * @throws RegistryError `upstream-invalid` for a redirect that is not followed; AttemptFailure
 *   `redirect` when the target could not be reached, the url's own failure when it could not.
 */
export async function followRedirects(start: URL, options: RedirectOptions): Promise<Followed> {
  const { send, release, redirectsMax, from, except } = options;
  let url = start;
  let isElsewhere = false;
  const seen = new Set<string>();
  for (;;) {
    seen.add(url.href);
    const answer = await sendTo(url, isElsewhere, send, from);
    if (!REDIRECT_STATUSES.has(answer.status) || answer.status === except) {
      return { answer, isElsewhere, isRedirected: seen.size > 1 };
    }
    const location = headerOf(answer.headers, "location");
    await release(answer);
    const target = targetOf(location, url, options);
    if (seen.has(target.href) || seen.size > redirectsMax) {
      throw invalid(from, seen.has(target.href) ? "us in a circle" : "us too many times");
    }
    isElsewhere ||= !isSameOrigin(url, target);
    url = target;
  }
}

async function sendTo(
  url: URL,
  isElsewhere: boolean,
  send: RedirectOptions["send"],
  from: string,
): Promise<Answer> {
  try {
    return await send(url, !isElsewhere);
  } catch (error) {
    if (!(error instanceof AttemptFailure)) {
      throw error;
    }
    if (error.cause instanceof TargetRefusedError) {
      throw invalid(from, `us to ${url.host}, which is a private address`, error);
    }
    if (isElsewhere) {
      throw unreachable(url, error);
    }
    throw error;
  }
}

function targetOf(location: string | undefined, from: URL, options: RedirectOptions): URL {
  const target = location === undefined ? null : URL.parse(location, from.href);
  if (target === null) {
    throw invalid(options.from, "us without saying where to");
  }
  const refusal = options.targets.refusalOf(target, from);
  if (refusal !== undefined) {
    throw invalid(options.from, `us to ${target.host}, which was not followed: ${refusal}`);
  }
  target.hash = "";
  return target;
}

function unreachable(url: URL, cause: AttemptFailure): AttemptFailure {
  const message = `it redirected to ${url.host}, and ${cause.message}`;
  return new AttemptFailure("redirect", message, { cause });
}

function invalid(from: string, how: string, cause?: Error): RegistryError {
  return new RegistryError(
    "upstream-invalid",
    `${from} sent ${how}; ` +
      "if this is how the registry works, name the host in redirectHosts of its configuration",
    cause === undefined ? undefined : { cause },
  );
}
