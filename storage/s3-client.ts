import { S3Client } from "@aws-sdk/client-s3";
import type { S3Transport } from "./s3-transport.ts";

export interface S3Endpoint {
  readonly region?: string | undefined;
  /** Without it, AWS's own of the region. */
  readonly endpoint?: string | undefined;
  readonly forcePathStyle: boolean;
}

/** Nothing is asked when it is made; credentials are looked up by the SDK's chain, and renewed. */
export function createS3Client(at: S3Endpoint, transport: S3Transport): S3Client {
  // An endpoint of somebody else often knows no regions, but signatures need the name of one.
  const region = at.region ?? (at.endpoint === undefined ? undefined : "us-east-1");
  return new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(at.endpoint === undefined ? {} : { endpoint: at.endpoint }),
    forcePathStyle: at.forcePathStyle,
    requestHandler: transport,
    maxAttempts: 1, // the transport's are the only ones
    expectContinueHeader: false, // each such request would get a socket outside of the pool
    // A CRC32 on each part is the SDK's default, and what some others refuse: R2 answered it with
    // 501 for a while (aws/aws-sdk-js-v3#6810). It would add nothing: a signature holds the SHA-256
    // of the body, a single put names the digest as checksum, and what is read is hashed or compared
    // here, before its last byte is given out rather than after it.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
}
