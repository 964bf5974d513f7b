import { release as by, rows } from "./forger-rules.ts";
import { sigstore } from "./policy-rig.ts";
import type { PrivateSigstore } from "./private-sigstore.ts";
import type { BundleJson, BundleOptions, LogEntryJson } from "./sign-bundle.ts";
import { asBundle } from "./sign-placements.ts";
import type { Sign } from "./signed-images.ts";

/** A good bundle with something changed afterwards. */
export function edited(
  edit: (bundle: BundleJson) => void,
  options: Partial<BundleOptions> = {},
): Sign {
  return rows.bundle({ by, ...options, edit });
}

/** As `edited`, with its log entry. */
export function editedEntry(
  edit: (entry: LogEntryJson) => void,
  options: Partial<BundleOptions> = {},
): Sign {
  return edited((bundle) => bundle.verificationMaterial.tlogEntries?.forEach(edit), options);
}

/** One bit of base64 text: in the middle, or so many bytes from the end. */
export function flipped(text: string, end?: number): string {
  const bytes = Buffer.from(text, "base64");
  const at = end === undefined ? bytes.length >> 1 : bytes.length + end;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes.toString("base64");
}

/** A good bundle with a part of another one, which is about the same image and good by itself. */
export function transplanted(graft: (bundle: BundleJson, donor: BundleJson) => void): Sign {
  return async ({ digest }) => {
    const [bundle, donor] = await Promise.all([
      sigstore.bundle({ digest, by }),
      sigstore.bundle({ digest, by, timestamp: true }),
    ]);
    graft(bundle, donor);
    return asBundle(bundle);
  };
}

/** As `transplanted`, from an entry of any log. */
export function transplantedEntry(
  home: PrivateSigstore,
  graft: (entry: LogEntryJson, donor: LogEntryJson) => void,
): Sign {
  return async ({ digest }) => {
    const bundle = await sigstore.bundle({ digest, by });
    const donor = await home.bundle({ digest, by });
    const [entry] = bundle.verificationMaterial.tlogEntries ?? [];
    const [other] = donor.verificationMaterial.tlogEntries ?? [];
    if (entry !== undefined && other !== undefined) {
      graft(entry, other);
    }
    return asBundle(bundle);
  };
}

/** With only what the log promised. */
export function withoutProof(options: Partial<BundleOptions>): Sign {
  return editedEntry((entry) => {
    delete entry.inclusionProof;
  }, options);
}
