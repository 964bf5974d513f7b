import type { RegistryBehaviour } from "./profile-behaviour.ts";
import { bearer, errors } from "./profile-behaviour.ts";

const UNAUTHORIZED = { status: 401, body: errors("UNAUTHORIZED", "authentication required") };

/** @see https://docs.docker.com/reference/api/registry/auth */
export const DOCKER_HUB: RegistryBehaviour = {
  name: "Docker Hub",
  username: "robot",
  repository: "team/app",
  challenge: bearer("registry.docker.io"),
  tokens: {
    path: "/token",
    isElsewhere: true,
    reply: (token) => ({
      token,
      access_token: token,
      expires_in: 300,
      issued_at: "2026-01-01T00:00:00.000000000Z",
    }),
    refusal: { status: 401, body: { details: "incorrect username or password" } },
    ended: UNAUTHORIZED,
  },
  unknown: UNAUTHORIZED,
  unreadable: {
    status: 401,
    body: errors("UNAUTHORIZED", "authentication required", [{ Type: "repository" }]),
  },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "manifest unknown") },
  blobs: "elsewhere",
  manifestHeaders: {
    "ratelimit-limit": "200;w=21600",
    "ratelimit-remaining": "173;w=21600",
    "docker-ratelimit-source": "192.0.2.1",
  },
};

/** Says 403 where others say 401, and without a challenge once anything was sent along. */
export const GHCR: RegistryBehaviour = {
  name: "GHCR",
  username: "octocat",
  repository: "acme/app",
  challenge: bearer("ghcr.io"),
  tokens: {
    path: "/token",
    reply: (token) => ({ token }),
    refusal: { status: 403, body: errors("DENIED", "denied") },
    ended: { status: 403, body: errors("DENIED", "invalid token") },
  },
  unknown: UNAUTHORIZED,
  unreadable: {
    status: 403,
    body: errors("DENIED", "requested access to the resource is denied"),
  },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "manifest unknown") },
  blobs: "elsewhere",
  noReferrers: { status: 303, body: "", location: "/-/v2/packages/container/package/app" },
  tagsLink: (path, last) => `<${path}?last=${last}&n=0>; rel="next"`,
};

/** Robots are `organisation+name`; what is not there and what is not yours are both 401. */
export const QUAY: RegistryBehaviour = {
  name: "Quay",
  username: "team+robot",
  repository: "team/app",
  challenge: bearer("quay.io"),
  tokens: {
    path: "/v2/auth",
    reply: (token) => ({ token }),
    refusal: {
      status: 401,
      body: errors("UNAUTHORIZED", "Could not find robot with specified username", {}),
    },
    ended: { status: 401, body: errors("UNAUTHORIZED", "Invalid bearer token format", {}) },
  },
  unknown: {
    status: 401,
    body: errors("UNAUTHORIZED", "access to the requested resource is not authorized", {}),
  },
  unreadable: {
    status: 401,
    body: errors("UNAUTHORIZED", "access to the requested resource is not authorized", {}),
  },
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "manifest unknown", {}) },
  blobs: "elsewhere",
  headLacks: ["content-length"],
};

/** As it is still installed: the next page of tags is found by a word of its own, never by a tag. */
export const OLDER_QUAY: RegistryBehaviour = {
  ...QUAY,
  name: "older Quay",
  ignoresLast: true,
  tagsLink: (path, last) => `<${path}?next_page=${last}&n=2>; rel="next"`,
};

/** Its token service is the site, gitlab.com, beside the registry, registry.gitlab.com. */
export const GITLAB: RegistryBehaviour = {
  name: "GitLab",
  username: "gitlab+deploy-token-1",
  repository: "group/project/app",
  challenge: bearer("container_registry"),
  tokens: {
    path: "/jwt/auth",
    isElsewhere: true,
    reply: (token) => ({ token }),
    refusal: { status: 403, body: errors("DENIED", "access forbidden") },
    ended: {
      status: 401,
      body: errors("UNAUTHORIZED", "authentication required"),
    },
  },
  unknown: UNAUTHORIZED,
  unreadable: UNAUTHORIZED,
  missingTag: { status: 404, body: errors("MANIFEST_UNKNOWN", "manifest unknown") },
  blobs: "elsewhere",
  noReferrers: { status: 404, body: "404 page not found\n" },
};
