import type { RegistryBehaviour } from "./profile-behaviour.ts";
import { bearer, errors } from "./profile-behaviour.ts";

/** Robots are `robot$project+name`. Its own codes are in part not the specification's. */
export const HARBOR: RegistryBehaviour = {
  name: "Harbor",
  username: "robot$team+puller",
  repository: "team/app",
  challenge: bearer("harbor-registry"),
  tokens: {
    path: "/service/token",
    reply: (token) => ({
      token,
      access_token: "",
      expires_in: 1800,
      issued_at: "2026-01-01T00:00:00Z",
    }),
    refusal: { status: 401, body: errors("UNAUTHORIZED", "unauthorized") },
    ended: {
      status: 401,
      body: errors("UNAUTHORIZED", "unauthorized to access repository: team/app, action: pull"),
    },
  },
  unknown: {
    status: 401,
    body: errors("UNAUTHORIZED", "unauthorized to access repository: team/app, action: pull"),
  },
  unreadable: {
    status: 401,
    body: errors("UNAUTHORIZED", "unauthorized to access repository: other, action: pull"),
  },
  missingTag: { status: 404, body: errors("NOT_FOUND", "artifact team/app:2 not found") },
  blobs: "here",
};

const NEXUS_UNAUTHORIZED = {
  status: 401,
  body: errors("UNAUTHORIZED", "access to the requested resource is not authorized", null),
};

/** As it comes out of the box. */
export const NEXUS: RegistryBehaviour = {
  name: "Nexus",
  username: "puller",
  repository: "team/app",
  challenge: () => 'BASIC realm="Sonatype Nexus Repository Manager"',
  unknown: NEXUS_UNAUTHORIZED,
  wrong: NEXUS_UNAUTHORIZED,
  ended: NEXUS_UNAUTHORIZED,
  unreadable: { status: 403, body: errors("DENIED", "requested access to the resource is denied") },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "manifest unknown", {}) },
  blobs: "here",
  noReferrers: { status: 400, body: errors("UNSUPPORTED", "The operation is unsupported.") },
};

/** With the "Docker Bearer Token Realm": no scope, and the realm is the service as well. */
export const NEXUS_TOKENS: RegistryBehaviour = {
  ...NEXUS,
  name: "Nexus with tokens",
  pathPrefix: "/repository/images",
  challenge: ({ realm }) => `Bearer realm="${realm}",service="${realm}"`,
  tokens: {
    path: "/repository/images/v2/token",
    reply: (token) => ({ token: `DockerToken.${token}` }),
    refusal: NEXUS_UNAUTHORIZED,
    ended: NEXUS_UNAUTHORIZED,
  },
};

/** The realm's repository is the one of the path. */
export const ARTIFACTORY: RegistryBehaviour = {
  name: "Artifactory",
  username: "puller",
  repository: "team/app",
  pathPrefix: "/artifactory/api/docker/images",
  challenge: ({ realm, host }) => `Bearer realm="${realm}",service="${host}"`,
  tokens: {
    path: "/artifactory/api/docker/null/v2/token",
    reply: (token) => ({ token, expires_in: 3600 }),
    refusal: {
      status: 401,
      body: { errors: [{ status: 401, message: "Bad Credentials" }] },
    },
    ended: {
      status: 401,
      body: { errors: [{ status: 401, message: "Token failed verification: expired" }] },
    },
  },
  unknown: { status: 401, body: errors("UNAUTHORIZED", "authentication is required") },
  unreadable: {
    status: 404,
    body: errors("NAME_UNKNOWN", "Repository name not known to registry.", { name: "other" }),
  },
  missingTag: {
    status: 404,
    body: errors("MANIFEST_UNKNOWN", "The named manifest is not known to the registry."),
  },
  blobs: "here",
};
