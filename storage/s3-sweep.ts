import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { isAbsent } from "./s3-errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Objects } from "./s3-objects.ts";

/**
 * Aborts uploads of ours that nobody will finish: their parts are paid for, and not seen in listings.
 * Several replicas may do so at once.
 *
 * @returns how many
 * @throws the SDK's errors
 */
export async function sweepUploads(
  objects: S3Objects,
  now: number,
  signal?: AbortSignal,
): Promise<number> {
  const { client, bucket: Bucket, keyPrefix: Prefix } = objects;
  const options = signal === undefined ? {} : { abortSignal: signal };
  let swept = 0;
  let from: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (let page = 0; page < S3_LIMITS.sweepPagesMax; page++) {
    const listing = await client.send(
      new ListMultipartUploadsCommand({ Bucket, Prefix, ...from }),
      options,
    );
    for (const { Key, UploadId, Initiated } of listing.Uploads ?? []) {
      const ageMs = now - (Initiated?.getTime() ?? now);
      // A server that does not know prefixes lists what is not ours.
      if (Key?.startsWith(Prefix) && UploadId !== undefined && ageMs > S3_LIMITS.leftAfterMs) {
        swept += await abortUpload(objects, { Bucket, Key, UploadId }, options);
      }
    }
    const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = listing;
    if (IsTruncated !== true || NextKeyMarker === undefined) {
      break;
    }
    from = {
      KeyMarker: NextKeyMarker,
      ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
    };
  }
  return swept;
}

async function abortUpload(
  objects: S3Objects,
  upload: { readonly Bucket: string; readonly Key: string; readonly UploadId: string },
  options: { readonly abortSignal?: AbortSignal },
): Promise<number> {
  try {
    await objects.client.send(new AbortMultipartUploadCommand(upload), options);
    return 1;
  } catch (error) {
    if (isAbsent(error) || (error instanceof Error && error.name === "NoSuchUpload")) {
      return 0; // somebody else was faster
    }
    throw error;
  }
}
