/**
 * Every bound that a client, a registry or an operator may meet, with its unit and its reason. What
 * tunes one file from inside stands there, and storage/, which knows nothing of us, has its own.
 */

/** What a client may send, and how long it may take. */
export const CLIENT_LIMITS = {
  /** A slow-header client must not hold a socket for long. */
  headersTimeoutMs: 10_000,
  /** There are no request bodies, so a request is its headers. */
  requestTimeoutMs: 15_000,
  headerBytesMax: 16_384,
  headersMax: 100,
  urlBytesMax: 4096,
  queryKeysMax: 10,
  /** Longer than BuildKit (120 s) and ggcr (90 s) keep idle connections: no reset meets a reused one. */
  keepAliveTimeoutMs: 150_000,
  /** A client that takes no byte for this long is gone; containerd gives up after 5 min without progress. */
  writeStallTimeoutMs: 120_000,
  connectionsMax: 4096,
  /**
   * Headers wait this long for the first chunk, so that an early failure is still an error and not
   * a broken body; then they go, since clients give up on headers long before they do on bytes.
   */
  firstChunkWaitMs: 1000,
  /** A page of tags: registries cap at 1,000 or less. */
  pageMax: 1000,
  /** A client's 403 must fit `kubectl describe pod`. */
  reasonPhraseMax: 200,
} as const;

/** How we speak to registries. */
export const UPSTREAM_LIMITS = {
  connectTimeoutMs: 5000,
  dnsTimeoutMs: 3000,
  /** Absolute, informational responses included. */
  manifestFirstByteTimeoutMs: 15_000,
  /** containerd ≥ 2.3 gives up when our headers take 30 s. */
  blobFirstByteTimeoutMs: 25_000,
  /**
   * Everything before our first byte: retries, tokens, redirects, and the bodies of manifests and
   * lists. containerd gives up at 30 s.
   */
  answerTimeoutMs: 28_000,
  /** 1xx responses before the real one; honest servers send one or two. */
  informationalMax: 64,
  /** A stall detector, not a deadline: a slow layer is healthy as long as bytes arrive. */
  bodyIdleTimeoutMs: 30_000,
  /** Below this over the window, a transfer is a drip that would hold a fill for ever. */
  rateMinBytesPerSecond: 16_384,
  rateWindowMs: 60_000,
  /** distribution-spec: clients need not accept more; containerd refuses more than 4 MiB. */
  manifestBytesMax: 4_194_304,
  /** A tag list or a page of referrers. */
  listBytesMax: 4_194_304,
  /** What is read of an error body, for its code and message. */
  errorBytesMax: 8192,
  /** An error's body is a courtesy: after this its connection is given up instead. */
  errorTimeoutMs: 2000,
  /** What is quoted of it in a message of ours. */
  errorTextMax: 200,
  blobBytesMax: 34_359_738_368,
  tokenTimeoutMs: 10_000,
  tokenBytesMax: 65_536,
  /** When a token service does not say (distribution's token specification). */
  tokenLifetimeDefaultSeconds: 60,
  tokenLifetimeMinSeconds: 30,
  tokenLifetimeMaxSeconds: 3600,
  /** Part of a token's life after which it is fetched anew, ahead of need. */
  tokenRefreshAt: 0.8,
  tokensMax: 10_000,
  /** Per repository: which log-in it asked for. */
  challengesMax: 10_000,
  redirectsMax: 3,
  referrersPagesMax: 5,
  headerBytesMax: 32_768,
  connectionsPerOriginMax: 32,
  keepAliveTimeoutMs: 15_000,
  /** Two buffers of this for each connection without TLS. 64 KiB costs twice the CPU; more gains little. */
  readBytes: 131_072,
  attemptsMax: 3,
  retryDelayMinMs: 200,
  retryDelayMaxMs: 2000,
  /** Retries may add this share to the requests of the last window, so that they never become a storm. */
  retryBudgetRatio: 0.2,
  retryBudgetWindowMs: 10_000,
  /** What a quiet upstream may always retry in a window. */
  retryBudgetMin: 10,
  retryAfterMaxSeconds: 60,
  breakerConnectFailures: 5,
  breakerSamplesMin: 10,
  breakerFailureRatio: 0.5,
  breakerWindowMs: 10_000,
  breakerOpenMs: 5000,
} as const;

/** Downloads being stored. */
export const FILL_LIMITS = {
  perHostMax: 16,
  totalMax: 64,
  queueMax: 256,
  queueTimeoutMs: 10_000,
  /** How often a broken transfer is taken up again before the fill fails. */
  resumesMax: 3,
  /** A fill without readers that is less than half done ends after this (5 s is promised). */
  abandonedGraceMs: 4000,
  /** The unit in which a fill is kept in memory and written to the store. */
  blockBytes: 1_048_576,
  /** One more is begun before the upstream is asked to pause: the 4 MiB a stream that are promised. */
  blocksMax: 3,
  /** Held back until size and digest agree: less for a small blob, so that its first bytes go out. */
  holdBackBytesMax: 65_536,
  /** A blob that is no larger than that is proved first, unless it takes longer than this. */
  proofWaitMs: 250,
  /** Without a store to read from, a reader that is this long behind is cut off. */
  laggardTimeoutMs: 10_000,
  /** Two fetches of a digest with wrong bytes within the window are answered 502 for the hold. */
  mismatchWindowMs: 60_000,
  mismatchHoldMs: 30_000,
} as const;

/** What is kept, and how it is read. */
export const CACHE_LIMITS = {
  manifestMemoryBytes: 67_108_864,
  notFoundMs: 10_000,
  refusedMs: 5000,
  failedMs: 2000,
  negativeEntriesMax: 10_000,
  /** A revalidation slower than this serves the last known digest, and goes on by itself. */
  revalidateTimeoutMs: 3000,
  /** After a slow or failed one, until one succeeds: an upstream that is back answers in time. */
  suspectTimeoutMs: 200,
  /** Known "this repository contains that digest" pairs in memory; the rest is in the metadata. */
  membershipEntriesMax: 100_000,
  /** Tag lists and referrers that can be served when the upstream is down. */
  listMemoryBytes: 16_777_216,
} as const;

/** The configuration file. Far above what people write, so that a wrong file fails at once. */
export const CONFIG_LIMITS = {
  fileBytesMax: 524_288,
  /** Values after aliases are expanded: a few aliases of aliases can stand for billions. */
  nodesMax: 100_000,
  depthMax: 32,
  /** Editors and ConfigMap updates touch a folder several times for one change. */
  reloadDebounceMs: 250,
} as const;

/** How the program ends. */
export const DRAIN_LIMITS = {
  /** Load balancers need this long to notice that it is not ready. */
  acceptMs: 5000,
  finishMs: 25_000,
  /** Connections that became idle while draining are closed this often. */
  idleSweepMs: 200,
} as const;
