/** Where an ECR registry is, and which of AWS's endpoints belong to it. */
export interface EcrRegistry {
  readonly region: string;
  readonly isFips: boolean;
  readonly isDualStack: boolean;
}

/** Whole names: `1.dkr.ecr.eu-west-1.amazonaws.com.evil.example` is nobody we know. */
const ECR =
  /^\d{12}\.dkr\.ecr(?<fips>-fips)?\.(?<region>[a-z0-9-]{1,64})\.(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|sc2s\.sgov\.gov|c2s\.ic\.gov)$/;
const ECR_DUAL_STACK =
  /^\d{12}\.dkr-ecr(?<fips>-fips)?\.(?<region>[a-z0-9-]{1,64})\.on\.(?:aws|amazonwebservices\.com\.cn)$/;
const ECR_PUBLIC = /^(?:public\.ecr\.aws|ecr-public\.aws\.com)$/;
const ACR = /^(?:[a-z0-9-]{1,63}\.){1,4}azurecr\.(?:io|cn|us)$/;
const GOOGLE = /^(?:(?:[a-z0-9-]{1,63}\.)?gcr\.io|(?:[a-z0-9-]{1,63}\.){1,3}pkg\.dev)$/;

/**
 * @param host - without a port.
 * @see https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
 */
export function parseEcrHost(host: string): EcrRegistry | undefined {
  const single = ECR.exec(host)?.groups;
  const groups = single ?? ECR_DUAL_STACK.exec(host)?.groups;
  const region = groups?.["region"];
  if (region === undefined) {
    return undefined;
  }
  return { region, isFips: groups?.["fips"] !== undefined, isDualStack: single === undefined };
}

export function isEcrPublicHost(host: string): boolean {
  return ECR_PUBLIC.test(host);
}

/** Also of the clouds of China and of the US government. */
export function isAcrHost(host: string): boolean {
  return ACR.test(host);
}

/** Artifact Registry, and what is left of Container Registry. */
export function isGoogleHost(host: string): boolean {
  return GOOGLE.test(host);
}
