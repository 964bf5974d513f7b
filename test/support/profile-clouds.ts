import type { RegistryBehaviour } from "./profile-behaviour.ts";
import { bearer, errors } from "./profile-behaviour.ts";

/** A password that AWS gave out ends with a 403 that has no challenge, a strange one is a 400. */
export const ECR: RegistryBehaviour = {
  name: "ECR",
  username: "AWS",
  repository: "team/app",
  challenge: ({ host }) => `Basic realm="https://${host}/",service="ecr.amazonaws.com"`,
  unknown: { status: 401, body: "Not Authorized\n" },
  wrong: { status: 400, body: errors("DENIED", "Your Authorization Token is invalid.") },
  ended: {
    status: 403,
    body: errors("DENIED", "Your authorization token has expired. Reauthenticate and try again."),
  },
  unreadable: {
    status: 404,
    body: errors("NAME_UNKNOWN", "The repository with name 'other' does not exist"),
  },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "Requested image not found") },
  blobs: "elsewhere",
  tagsLink: (path, last, origin) => `<${origin}${path}?last=${last}&n=2>; rel="next"`,
};

/** One scope for all of it; a token that has ended is a 400 without a challenge. */
export const ECR_PUBLIC: RegistryBehaviour = {
  name: "ECR Public",
  username: "AWS",
  repository: "team/app",
  challenge: ({ realm }) => `Bearer realm="${realm}",service="public.ecr.aws",scope="aws"`,
  tokens: {
    path: "/token/",
    reply: (token) => ({ token }),
    refusal: { status: 400, body: errors("DENIED", "Your Authorization Token is invalid.") },
    ended: { status: 400, body: errors("DENIED", "Your Authorization Token is invalid.") },
  },
  unknown: { status: 401, body: errors("DENIED", "Not Authorized") },
  unreadable: {
    status: 404,
    body: errors("NAME_UNKNOWN", "The repository with name 'other' does not exist"),
  },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "Requested image not found") },
  blobs: "elsewhere",
};

const GOOGLE_DENIED =
  'Permission "artifactregistry.repositories.downloadArtifacts" denied on resource ' +
  '"projects/p/locations/l/repositories/r" (or it may not exist)';

/** Blobs are at another path of the same host. */
export const ARTIFACT_REGISTRY: RegistryBehaviour = {
  name: "Artifact Registry",
  username: "oauth2accesstoken",
  repository: "project/repository/app",
  challenge: bearer("us-docker.pkg.dev"),
  tokens: {
    path: "/v2/token",
    reply: (token) => ({
      token,
      expires_in: 3600,
      issued_at: "2026-01-01T00:00:00Z",
    }),
    refusal: { status: 403, body: errors("DENIED", GOOGLE_DENIED) },
    ended: { status: 401, body: errors("UNAUTHORIZED", "authentication failed") },
  },
  unknown: { status: 401, body: errors("UNAUTHORIZED", "authentication required") },
  unreadable: { status: 403, body: errors("DENIED", GOOGLE_DENIED) },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", 'Failed to fetch "2"') },
  blobs: "downloads",
};

/** Errors of what stands in front of it are pages. */
export const GCR: RegistryBehaviour = {
  name: "gcr.io",
  username: "_json_key",
  repository: "project/app",
  challenge: bearer("gcr.io"),
  tokens: {
    path: "/v2/token",
    reply: (token) => ({ token, expires_in: 43_200, issued_at: "2026-01-01T00:00:00Z" }),
    refusal: { status: 401, body: "<!DOCTYPE html><title>Error 401</title>" },
    ended: { status: 401, body: errors("UNAUTHORIZED", "Not Authorized.") },
  },
  unknown: { status: 401, body: errors("UNAUTHORIZED", "Not Authorized.") },
  unreadable: { status: 403, body: "<!DOCTYPE html><title>Error 403 (Forbidden)</title>" },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "Manifest unknown") },
  blobs: "elsewhere",
};

/** Gives `access_token` only, and does not say for how long. */
export const ACR: RegistryBehaviour = {
  name: "ACR",
  username: "00000000-0000-0000-0000-000000000000",
  repository: "team/app",
  challenge: ({ realm, host, repository }) =>
    `Bearer realm="${realm}",service="${host}",scope="repository:${repository}:pull"`,
  tokens: {
    path: "/oauth2/token",
    reply: (token) => ({ access_token: token }),
    refusal: {
      status: 401,
      body: errors(
        "UNAUTHORIZED",
        "authentication required, visit https://aka.ms/acr/authorization",
      ),
    },
    ended: {
      status: 401,
      body: errors(
        "UNAUTHORIZED",
        "authentication required, visit https://aka.ms/acr/authorization",
      ),
    },
  },
  unknown: {
    status: 401,
    body: errors("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization"),
  },
  unreadable: {
    status: 404,
    body: errors("NAME_UNKNOWN", "repository name not known to registry", { name: "other" }),
  },
  missingTag: {
    status: 404,
    body: errors("MANIFEST_UNKNOWN", "manifest tagged by 2 is not found"),
  },
  blobs: "elsewhere",
  tagsLink: (path, last) => `<${path}?last=${last}&n=2&orderby=>; rel="next"`,
};
