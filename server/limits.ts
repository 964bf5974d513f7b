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
  /** Of a registry whose pages cannot be asked for one by one, with 50 to 100 tags each. */
  tagsPagesMax: 100,
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

/** A bucket behind the disk. */
export const BUCKET_LIMITS = {
  /** What a bucket that is slow or gone may add to a pull's first byte; a manifest's last one as well. */
  openTimeoutMs: 400,
  /** So many times too late in a row, and it is not asked for a while. */
  lateMax: 3,
  passedOverMs: 10_000,
  uploadsMax: 4,
  /** Digests only; what does not fit is copied when it is next read. */
  waitingMax: 100_000,
  knownMax: 200_000,
  /** Objects that are not what they are named: real ones are single. */
  wrongMax: 10_000,
  /** A client that was sent there begins at once, and the url is checked when it does. */
  redirectSeconds: 300,
  /** What a process that died left of its uploads costs money until then. */
  firstSweepMs: 600_000,
  sweepMs: 86_400_000,
} as const;

/** How log-ins towards registries are looked up. */
export const CREDENTIAL_LIMITS = {
  /** As many as are tried for one image: more would be a search that the registry counts as an attack. */
  candidatesMax: 4,
  /** How long one that was refused comes last: a rotated secret is taken up within it. */
  refusedMs: 60_000,
  refusedMax: 10_000,
  /** Longer than any host with the longest repository. */
  keyLengthMax: 1024,
  /** A docker configuration, or a password: a Kubernetes secret cannot be larger. */
  fileBytesMax: 1_048_576,
  /** Log-ins and helpers of a docker configuration. */
  dockerEntriesMax: 1000,
  /** A helper or plugin; below the 25 s in which a first byte must come. */
  pluginTimeoutMs: 20_000,
  /** Real answers have some KiB; a plugin's may hold several tokens. */
  pluginOutputBytesMax: 1_048_576,
  /** What is quoted of what it says about a failure. */
  pluginStderrMax: 600,
  /** Processes at once: they are slow and large, and hundreds of pulls may start together. */
  pluginsMax: 4,
  /** What it left running may hold its output open: that is not waited for longer than this. */
  pluginDrainMs: 1000,
  /** What a docker helper said counts for so long: each question is a process. */
  helperKeptMs: 60_000,
  /** How long one that failed is not asked again: what waits must not fail one by one. */
  helperFailedMs: 5000,
  /** A log-in that is younger is not fetched anew when it is refused: it would be the same. */
  helperNewMs: 10_000,
  helperAnswersMax: 1000,
  /** The kubelet's own configuration of its plugins has some hundred bytes for each. */
  kubeletConfigCharactersMax: 65_536,
  /** Plugins, patterns, arguments, variables, and log-ins of an answer: real ones have a few. */
  kubeletItemsMax: 256,
  /** A user or a password: an ECR token has 3 KiB, and both have to fit a header. */
  kubeletSecretCharactersMax: 16_384,
  /** Whatever a plugin says: a log-in that was revoked, and is refused with 404, ends with it. */
  kubeletCacheMsMax: 86_400_000,
  /** For each plugin: one a repository when it answers for images. */
  kubeletAnswersMax: 10_000,
  /** How long a plugin that failed is not run again: waiting pulls must not become a row of failures. */
  kubeletFailedMs: 5000,
  /** A log-in that is younger is not fetched anew when it is refused: it would be the same. */
  kubeletNewMs: 30_000,
  /** All of one log-in from a cloud's library, which has retries and minutes of its own; half of what a pull has. */
  cloudTimeoutMs: 10_000,
  /** One request of it. */
  cloudRequestTimeoutMs: 4000,
  /** After a failure nobody asks again for so long: a node that starts pulls dozens of images. */
  cloudRetryMs: 5000,
  /** ECR's, the longest; whoever says more is not believed. */
  cloudLifetimeMaxMs: 43_200_000,
  /** Theirs have some KiB. */
  cloudLogInBytesMax: 16_384,
  /** A registry's answer to the exchange. */
  cloudReplyBytesMax: 65_536,
} as const;

/** Who may pull, and what that costs. */
export const ACCESS_LIMITS = {
  /** Questions to one registry about what clients may read: a quarter of the connections to it. */
  proofsMax: 8,
  /** How long a client's right to a repository is believed after its registry confirmed it. */
  entitledMs: 60_000,
  /** How long a refusal is: short, since a right may just have been granted. */
  refusedMs: 5000,
  entitlementsMax: 50_000,
  refusalsMax: 10_000,
  /** htpasswd files and key sets are looked at so often, when somebody logs in. */
  fileCheckMs: 1000,
  /** Ten thousand users need some 800 KiB. */
  passwordFileBytesMax: 1_048_576,
  usersMax: 10_000,
  /** 0.8 s of a processor. Each step more doubles that, and so what a wrong password costs us. */
  bcryptCostMax: 14,
  /**
   * bcrypt runs in the threads that the disk is read with. Measured with 2 processors: as many a
   * second as with 8, while reads from disk keep half of their speed, and lose nine tenths with 8.
   */
  passwordChecksMax: 2,
  /** Signatures of tokens that are verified at once, in the same threads; each takes some 0.1 ms. */
  tokenChecksMax: 4,
  /** Log-ins that wait for their turn; beyond it 503. */
  checkQueueMax: 256,
  /** Whoever waits longer is told to ask again; containerd waits 30 s for an answer. */
  checkQueueTimeoutMs: 10_000,
  /** A log-in that was right is believed so long after its last use: bcrypt is slow on purpose. */
  rightMs: 60_000,
  /** Each, of those that were right and those that were wrong: one cannot push out the other. */
  logInsMax: 10_000,
  /** Kubernetes' have some 1 KiB, those with many groups a few. */
  tokenCharactersMax: 8192,
  /** Names of clients and of their groups: one line of a log. */
  nameCharactersMax: 512,
  /** A JWK set: real ones have some KiB. */
  keySetBytesMax: 262_144,
  keysMax: 64,
  /** Not more often for keys that are not in it: anybody may make up a key id. */
  keySetCooldownMs: 30_000,
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
  /** Blobs of which a manifest and the registry say different sizes. */
  disputedSizesMax: 10_000,
  /** Tag lists and referrers that can be served when the upstream is down. */
  listMemoryBytes: 16_777_216,
} as const;

/** The configuration file. Far above what people write, so that a wrong file fails at once. */
export const CONFIG_LIMITS = {
  fileBytesMax: 524_288,
  /** Values after aliases are expanded: a few aliases of aliases can stand for billions. */
  nodesMax: 100_000,
  depthMax: 32,
  /** Each rule, exception and signer is a label of metrics or a check of every pull. */
  rulesMax: 200,
  exceptionsMax: 500,
  denyMax: 1000,
  matchesMax: 500,
  authoritiesMax: 32,
  /** A key, a trusted root or a certificate: the public good root has 7 KiB. */
  trustFileBytesMax: 1_048_576,
  /** In all files of a trust store: each is compared with every chain. */
  certificatesMax: 200,
  /** Files that rotation put aside: all are renamed when one is added. */
  auditFilesMax: 1000,
  /** Editors and ConfigMap updates touch a folder several times for one change. */
  reloadDebounceMs: 250,
} as const;

/** How the program ends. */
export const DRAIN_LIMITS = {
  /** How long what a reload replaced takes new requests: a log-in may wait that long for its turn. */
  retireMs: 30_000,
  /** Load balancers need this long to notice that it is not ready. */
  acceptMs: 5000,
  finishMs: 25_000,
  /** What was logged last may take so long to reach the disk when the program must end at once. */
  lastLinesMs: 1000,
  /** Connections that became idle while draining are closed this often. */
  idleSweepMs: 200,
} as const;

/** Judging what is pulled. What is verified was written by whoever may push. */
export const POLICY_LIMITS = {
  /** Signatures that are looked at for one image; more would be a way to make us work. */
  candidatesMax: 32,
  /** One signature with all that belongs to it: real ones have a few KiB, attestations some 100. */
  candidateBytesMax: 1_048_576,
  /** Attestations are larger; up to this size, none is left out on account of its size. */
  candidateSmallBytes: 65_536,
  /** Of larger ones, in one look-up: what many attestations weigh must not fill the memory. */
  candidatesLargeBytesMax: 8_388_608,
  /** Manifests of referrers that are opened in search of candidates. */
  referrersOpenedMax: 64,
  /** So many of them at a time. */
  referrersAtOnce: 8,
  /** All look-ups of one image; containerd waits 30 s for an answer. */
  gatherTimeoutMs: 10_000,
  /** When one look-up found something, the others are waited for this long before it is judged. */
  gatherGraceMs: 250,
  /** All of an image's verifications, in a thread that is ended when they take longer. */
  verifyTimeoutMs: 5000,
  /** After that the signature that is being looked at is given up, and the others are judged. */
  verifyOneTimeoutMs: 2500,
  /** All of a judgement, of the indexes that may vouch for it as well: it comes after the manifest. */
  assessTimeoutMs: 20_000,
  /** Images that wait for a thread; beyond it 503. */
  verifyQueueMax: 1024,
  /** Whoever waits longer for one is told to ask again; containerd waits 30 s for an answer. */
  verifyQueueTimeoutMs: 10_000,
  /** A thread's heap in MiB: a signature that needs more is not one. */
  verifyHeapMiB: 192,
  /** An allow is reached anew after this, from what is held. */
  allowMs: 21_600_000,
  /** A deny is reached anew after this: somebody may have signed meanwhile. */
  denyMs: 30_000,
  verdictsMax: 100_000,
  /** All of them together, roughly: what is told of 32 bad signatures takes 50 KiB and more. */
  verdictBytesMax: 33_554_432,
  /** An index in an index in an index: nobody nests deeper. */
  nestingMax: 3,
  /** Indexes that contain one manifest, the latest first. */
  parentsMax: 8,
  /** Of "this index contains that manifest"; the rest is in the store. */
  edgesInMemoryMax: 100_000,
  /** What was looked at for one image is kept on disk up to this size. */
  evidenceBytesMax: 4_194_304,
  /** Known "these bytes are no manifest" in memory, by digest. */
  sniffedMax: 100_000,
  /** After the start, so that many that start together do not ask together. */
  trustFirstRefreshMs: 5000,
  /** Sigstore signs its timestamp anew every few days. */
  trustRefreshMs: 86_400_000,
  /** After a refresh that failed, doubling up to the second. */
  trustRetryMinMs: 60_000,
  trustRetryMaxMs: 3_600_000,
  /** One file of the TUF repository, with its body. */
  trustRequestTimeoutMs: 10_000,
  /** All of a refresh, in a process that is killed then; a year of root rotations takes seconds. */
  trustRefreshTimeoutMs: 60_000,
  /** That process's heap in MiB. */
  trustHeapMiB: 64,
  /** One file of the TUF repository, and the trusted root itself; real ones have some 10 KiB. */
  trustBytesMax: 1_048_576,
  /** What is quoted of why a refresh failed. */
  trustProblemMax: 300,
  /** In one signature, of log entries and of timestamps each, as sigstore-go has settled (CVE-2024-45395). */
  logEntriesMax: 32,
  timestampsMax: 32,
  /** Images that one statement names; sigstore-go's bound, too. */
  statementSubjectsMax: 1024,
  /** A log's signed head: a few hundred bytes, and as much for each witness. Each line may cost a verification. */
  checkpointBytesMax: 16_384,
  /** Fulcio's have less than 2 KiB. */
  signerCertificateBytesMax: 32_768,
  /** Predicates nest; those that were seen, ten deep. */
  jsonDepthMax: 64,
  /** Of each kind in a trusted root: the public good instance had three of one in five years. */
  trustAnchorsMax: 64,
  /** From a leaf to its root, in a trusted root. */
  trustChainMax: 8,
  /** Which rule a repository has is remembered for so many of them. */
  matchesMax: 10_000,
  /** What a rule compares of a provenance; real ones name a few dozen sources. */
  provenanceSourcesMax: 1024,
  /** A scan that ends in the future is refused, but for clocks that go apart. */
  clockSkewMs: 300_000,
  /** A denial's text: what a client puts on a terminal. */
  messageBytesMax: 4096,
  /** Signatures that a message tells of. */
  messageChecksMax: 10,
  /** A Notation signature's certificates: two or three in practice. */
  chainCertificatesMax: 10,
  /** One of them, in DER: 1 to 2 KiB in practice. */
  certificateBytesMax: 65_536,
  /** Of any certificate's key: the Notary Project's signature specification, and NIST SP 800-57. */
  rsaBitsMin: 2048,
  /** Larger ones are slow, and nobody's. */
  rsaBitsMax: 8192,
  /** What Go reads as well; 65537 in practice. */
  rsaExponentMax: 2_147_483_647,
  /** A distinguished name, written out: X.520 bounds most attributes to 64 characters. */
  nameCharactersMax: 1024,
  nameAttributesMax: 32,
  /** Values in a Notation envelope, and members of its JSON; Notation writes some 30. */
  envelopeItemsMax: 4096,
  /** Arrays, maps and tags in COSE, and so their depth; Notation writes 8. */
  cborContainersMax: 64,
} as const;

/** What a manifest may be like, to be one that a policy can judge. */
export const MANIFEST_LIMITS = {
  /** Real ones nest 5 deep. */
  depthMax: 64,
  /** Ten for each of the 10,000 descriptors that are allowed, and some. */
  membersMax: 120_000,
  /** Real indexes have dozens, real images at most 127 layers. */
  descriptorsMax: 10_000,
  /** A signature, attestation or bill of materials; an image of that size would be a trap. */
  artefactLayerBytesMax: 16_777_216,
  artefactLayersBytesMax: 33_554_432,
  /** Each is read before it is served; cosign appends one a signature. */
  artefactLayersMax: 256,
  /** cosign's are below 1 KiB, with 32 signatures some KiB. */
  artefactConfigBytesMax: 1_048_576,
} as const;

/** Files that carry images across an air gap. What is read of one was written by anybody. */
export const AIR_GAP_LIMITS = {
  /** Files and folders of an archive: a hundred images with all platforms have some ten thousand. */
  tarEntriesMax: 200_000,
  /** A pax header: real ones have less than 1 KiB. */
  paxBytesMax: 65_536,
  /** `oci-layout` itself: real ones have 30 bytes. */
  layoutBytesMax: 4096,
  /** Manifests of one image with its platforms and signatures. */
  manifestsMax: 10_000,
  /** Of everything in a file. */
  layoutManifestsMax: 100_000,
  /** An index in an index in an index: nobody nests deeper. */
  nestingMax: 3,
  /** Referrers of one manifest, as many as the proxy lists. */
  referrersMax: 1000,
  /** One look-up for signatures; nobody's node waits for it. */
  lookupTimeoutMs: 60_000,
  /** What is read of a file at a time. */
  readBytes: 262_144,
  /** Without a folder of its own, an export holds manifests and signatures, and streams the rest. */
  scratchBlobBytesMax: 4_194_304,
  scratchBytesMax: 268_435_456,
  /** Of the store: when a file needs more, eviction would undo its import while it runs. */
  storeShareMax: 0.8,
} as const;

/** What is held, and how it goes again: retention, purge and scrub. */
export const PURGE_LIMITS = {
  /** A repository with its registry has 255 characters, a tag 128. */
  imageCharactersMax: 512,
  /** Ten years: longer is a slip of the unit. */
  ageSecondsMax: 315_360_000,
  daysMax: 3650,
  dayMs: 86_400_000,
  /** Nobody looks through more tags of one repository. */
  keepTagsMax: 10_000,
  retentionRulesMax: 200,
  /** After a start, when those who waited for it have pulled. */
  retentionFirstMs: 60_000,
  /** What counts in days is looked at so often. */
  retentionEveryMs: 3_600_000,
  /** Between two batches of 32 blobs, so that pulls notice nothing: 2,000 blobs a second at most. */
  retentionPauseMs: 10,
  /** Bytes a second: 4 % of a core for hashing, and half of what a slow disk reads. */
  scrubRate: 50_000_000,
  /** Slower, a scrub of a large store would never end. */
  scrubRateMin: 1_048_576,
  scrubRateMax: 10_737_418_240,
  /** What the admin API answers: a report names a hundred repositories of 255 characters. */
  answerBytesMax: 1_048_576,
  /** How often the command line asks how far a scrub is. */
  scrubPollMs: 1000,
} as const;
