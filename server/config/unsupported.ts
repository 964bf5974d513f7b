/** A key that a later version knows. To pass over one would be to run without what it asks for. */
export interface Unsupported {
  /** `*` stands for any name. */
  readonly path: readonly string[];
  /** Only this value of a key that is otherwise known. */
  readonly value?: string;
  readonly consequence: string;
}

/** What this version refuses although the format has it. Whoever adds the feature drops the row. */
const UNSUPPORTED: readonly Unsupported[] = [
  { path: ["clients"], consequence: "anyone who can connect could pull" },
  { path: ["fleet"], consequence: "each replica would download for itself" },
  { path: ["adminTokenFile"], consequence: "the admin port would be open to all who can connect" },
  { path: ["adminTls"], consequence: "the admin port would be served in the clear" },
  { path: ["storage", "s3"], consequence: "nothing would be stored in the bucket" },
  { path: ["storage", "retention"], consequence: "nothing would ever expire by age" },
  {
    path: ["credentials", "kubeletProviders"],
    consequence: "registries would be asked without credentials",
  },
  {
    path: ["upstreams", "*", "access"],
    value: "per-client",
    consequence: "all who can connect could pull what only some may read",
  },
];

/** Why a key, or a value of it, is refused by this version; undefined when no version knows it. */
export function explainUnsupported(
  path: readonly (string | number)[],
  value: unknown,
): string | undefined {
  const row = UNSUPPORTED.find(
    (candidate) =>
      candidate.path.length === path.length &&
      candidate.path.every((key, index) => key === "*" || key === path[index]) &&
      (candidate.value === undefined || candidate.value === value),
  );
  if (row === undefined) {
    return undefined;
  }
  const key = path.join(".");
  const what = row.value === undefined ? key : `${key}: ${row.value}`;
  return `${what} is not supported by this version: without it ${row.consequence}`;
}
