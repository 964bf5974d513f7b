import type { Static, TUnsafe } from "typebox";
import Type from "typebox";
import type { S3Settings } from "../settings.ts";
import type { S3Draft } from "./draft.ts";
import type { ConfigScope } from "./scope.ts";

/** Amazon's rules, which the others share: docs.aws.amazon.com/AmazonS3, "Bucket naming rules". */
const BUCKET_PATTERN = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";
const PREFIX_PATTERN = "^(?:[A-Za-z0-9._-]+/)*$";
const PATH = ["storage", "s3"];

const Schema = Type.Object(
  {
    bucket: Type.String({
      pattern: BUCKET_PATTERN,
      title: "a bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens",
      description: "It has to exist.",
    }),
    prefix: Type.Optional(
      Type.String({
        pattern: PREFIX_PATTERN,
        title: "a prefix that ends with a slash, such as sluice/",
        description: "What the names of our objects begin with.",
        default: "",
        examples: ["sluice/"],
      }),
    ),
    region: Type.Optional(
      Type.String({
        pattern: "^[a-z0-9-]{2,40}$",
        title: "a region such as eu-central-1",
        description: "Without it, what the SDK finds (AWS_REGION); us-east-1 with an endpoint.",
      }),
    ),
    endpoint: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        title: "a url such as http://127.0.0.1:7070",
        description: "Of another S3 than Amazon's: MinIO, Ceph, R2.",
      }),
    ),
    forcePathStyle: Type.Optional(
      Type.Boolean({
        description: "The bucket in the url's path, not in its host: for most others than Amazon.",
        default: false,
      }),
    ),
    redirect: Type.Optional(
      Type.Boolean({
        description: "Sends clients to the bucket for large blobs: they have to reach it.",
        default: false,
      }),
    ),
  },
  {
    additionalProperties: false,
    title: "a bucket, and where it is",
    description: "A bucket behind the disk. Its keys are found as the AWS SDK finds them.",
  },
);

/** `storage.s3` of the file. */
export const S3_SCHEMA: TUnsafe<S3Draft> = Type.Unsafe<Static<typeof Schema>>(Schema);

/** Undefined when there is none, or none that can be used. */
export function readS3(scope: ConfigScope, draft: S3Draft | undefined): S3Settings | undefined {
  if (draft?.bucket === undefined) {
    return undefined;
  }
  const { bucket, prefix = "", region, endpoint } = draft;
  const url = endpoint === undefined ? undefined : URL.parse(endpoint);
  if (url === null || (url !== undefined && url.pathname !== "/")) {
    scope.mismatch([...PATH, "endpoint"], "a url without a path, such as http://127.0.0.1:7070");
  } else if (
    url !== undefined &&
    (url.username !== "" || url.password !== "" || url.search !== "")
  ) {
    scope.mismatch([...PATH, "endpoint"], "a url without keys: they come from the SDK's chain");
  }
  return {
    bucket,
    prefix,
    ...(region !== undefined && { region }),
    ...(url != null && { endpoint: url.origin }),
    forcePathStyle: draft.forcePathStyle ?? false,
    redirect: draft.redirect ?? false,
  };
}
