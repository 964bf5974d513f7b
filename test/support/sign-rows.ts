import type { PrivateSigstore } from "./private-sigstore.ts";
import type { BundleOptions } from "./sign-bundle.ts";
import type { LegacyAttestationOptions, LegacySignatureOptions } from "./sign-legacy.ts";
import type { ReferrerOptions, SignatureTagOptions } from "./sign-placements.ts";
import { asAttestationTag, asBundle, asLegacyReferrer, asSignatureTag } from "./sign-placements.ts";
import type { Sign } from "./signed-images.ts";

/** Without a digest it is about the image that it is put beside. */
type AboutImage<T extends { readonly digest: string }> = Omit<T, "digest"> & {
  readonly digest?: string;
};

/**
 * What one row of a table of signatures says: how something is signed, and where it is put. An
 * honest one needs `by` and no more, and each forgery differs in what its row names:
 *
 *     ["of another image", rows.bundle({ by: alice, digest: OTHER })],
 *     ["listed under a wrong type", rows.bundle({ by: alice }, { artifactType: OCI_EMPTY })],
 */
export class SigningRows {
  readonly #sigstore: PrivateSigstore;

  constructor(sigstore: PrivateSigstore) {
    this.#sigstore = sigstore;
  }

  /** Cosign 3's format: a referrer. Attestations are of another predicate type. */
  bundle(options: AboutImage<BundleOptions>, placed: ReferrerOptions = {}): Sign {
    return async ({ digest }) => {
      return asBundle(await this.#sigstore.bundle({ digest, ...options }), placed);
    };
  }

  /** Cosign's older format under a tag. Several signers are several layers. */
  signatureTag(
    signatures: readonly AboutImage<LegacySignatureOptions>[],
    placed: SignatureTagOptions = {},
  ): Sign {
    return async ({ digest }) => asSignatureTag(await this.#layers(digest, signatures), placed);
  }

  /** Cosign's older format as a referrer. */
  legacyReferrer(
    signatures: readonly AboutImage<LegacySignatureOptions>[],
    placed: ReferrerOptions = {},
  ): Sign {
    return async ({ digest }) => asLegacyReferrer(await this.#layers(digest, signatures), placed);
  }

  /** Cosign's older attestations under a tag. */
  attestationTag(
    attestations: readonly AboutImage<LegacyAttestationOptions>[],
    placed: SignatureTagOptions = {},
  ): Sign {
    return async ({ digest }) => {
      const layers = attestations.map((options) => {
        return this.#sigstore.legacyAttestation({ digest, ...options });
      });
      return asAttestationTag(await Promise.all(layers), placed);
    };
  }

  #layers(
    digest: string,
    signatures: readonly AboutImage<LegacySignatureOptions>[],
  ): Promise<Awaited<ReturnType<PrivateSigstore["legacySignature"]>>[]> {
    return Promise.all(
      signatures.map((options) => this.#sigstore.legacySignature({ digest, ...options })),
    );
  }
}
