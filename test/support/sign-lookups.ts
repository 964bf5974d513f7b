import type { FakeUpstream, FaultHandle } from "./fake-upstream.ts";
import { tagOf } from "./sign-placements.ts";
import { OCI_INDEX } from "./signed-images.ts";
import type { Fault } from "./upstream-faults.ts";

/** Where signatures of an image are looked for. */
export type LookupPlace = "referrers" | "fallback-tag" | "signature-tag" | "attestation-tag";

const HTML = { "content-type": "text/html; charset=utf-8" };
const PAGE = "<!doctype html><title>Sign in</title>";

/** A registry that has no referrers API says so in these ways: the fallback tag is to be read. */
export const NO_REFERRERS_API: Readonly<Record<string, Fault>> = {
  "404": { status: 404, code: "NOT_FOUND" },
  "405": { status: 405, code: "UNSUPPORTED" },
  "404 with a page": { status: 404, headers: HTML, body: PAGE },
  "303 to a page": { status: 303, redirect: "/login" },
};

/** None of these says that there is no signature. */
export const LOOKUP_FAILURES: Readonly<Record<string, Fault>> = {
  "429": { status: 429, code: "TOOMANYREQUESTS", headers: { "retry-after": "1" } },
  "500": { status: 500 },
  "502 with a page": { status: 502, headers: HTML, body: PAGE },
  "503": { status: 503 },
  "a broken connection": { reset: true },
  "half a list": { truncateAfterBytes: 20 },
  "200 with a page": { headers: HTML, body: PAGE },
  "an index without a list": { headers: { "content-type": OCI_INDEX }, body: "{}" },
};

/** An answer that lists nothing. */
export const EMPTY_INDEX: Fault = {
  headers: { "content-type": OCI_INDEX },
  body: JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }),
};

/** Looking for an image's signatures in this place meets the fault, from now on. */
export function breakLookup(
  upstream: FakeUpstream,
  digest: string,
  { place, fault }: { readonly place: LookupPlace; readonly fault: Fault },
): FaultHandle {
  return upstream.on({ path: patternOf(place, digest) }, fault);
}

function patternOf(place: LookupPlace, digest: string): RegExp {
  switch (place) {
    case "referrers":
      return new RegExp(`/referrers/${digest}(?:\\?.*)?$`);
    case "fallback-tag":
      return new RegExp(`/manifests/${tagOf(digest)}$`);
    case "signature-tag":
      return new RegExp(`/manifests/${tagOf(digest)}\\.sig$`);
    case "attestation-tag":
      return new RegExp(`/manifests/${tagOf(digest)}\\.att$`);
  }
}
