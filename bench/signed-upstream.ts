// What signed-origin.ts is told, and says: apart from it, since to import that one is to run it.

/** `bundle`: a certificate, Rekor v1 and a timestamp; `legacy`: without the timestamp; `key`: a bundle. */
export type Format = "bundle" | "legacy" | "key";

export type OriginJob =
  | {
      readonly kind: "images";
      readonly format: Format;
      readonly count: number;
      /** With any, each is an index of so many images. */
      readonly platforms?: readonly string[];
    }
  | { readonly kind: "blob"; readonly sizeBytes: number; readonly isJson: boolean };

/** What a policy must know of it. */
export interface SignedOrigin {
  readonly url: string;
  readonly identity: string;
  readonly issuer: string;
  readonly trustedRootJson: string;
  readonly publicKeyPem: string;
}

export interface MadeImage {
  readonly tag: string;
  readonly digest: string;
}

/** Where images of a format are: a rule is for one repository. */
export function repositoryOf(format: Format): string {
  return `bench/${format}`;
}
