import type { PrivateSigstore } from "./private-sigstore.ts";
import { asSignatureTag } from "./sign-placements.ts";
import { keyless } from "./sign-with.ts";
import type { Sign, SignedImageOptions } from "./signed-images.ts";

export const PROMOTER = "krel-trust@k8s-releng-prod.iam.gserviceaccount.com";
export const STAGER = "krel-staging@k8s-releng-prod.iam.gserviceaccount.com";
export const GOOGLE = "https://accounts.google.com";

/**
 * An image of registry.k8s.io as its promotion tool signs it: cosign's older keyless format on the
 * index and on every child, first at staging and again at promotion, with the references of then.
 */
export function kubernetesImage(
  sigstore: PrivateSigstore,
  options: Pick<SignedImageOptions, "repository" | "tag" | "platforms">,
): SignedImageOptions {
  const { repository, platforms = ["linux/amd64", "linux/arm64", "linux/s390x"] } = options;
  const name = repository.split("/").at(-1);
  const sign: Sign = async ({ digest }) => {
    const staged = await sigstore.legacySignature({
      digest,
      by: keyless(STAGER, GOOGLE),
      at: new Date("2024-05-14T09:12:33Z"),
      reference: `gcr.io/k8s-staging-kubernetes/${name}`,
    });
    const promoted = await sigstore.legacySignature({
      digest,
      by: keyless(PROMOTER, GOOGLE),
      at: new Date("2024-05-15T16:40:05Z"),
      reference: `registry.k8s.io/${repository}`,
      optional: { "org.kubernetes.kpromo.version": "kpromo-v4.0.5" },
    });
    return asSignatureTag([staged, promoted]);
  };
  return { ...options, platforms, signatures: [sign], childSignatures: [sign] };
}
