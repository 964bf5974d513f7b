/** A key that a later version knows. To pass over one would be to run without what it asks for. */
interface Unsupported {
  readonly path: readonly string[];
  readonly consequence: string;
}

/** What this version refuses although the format has it. Whoever adds the feature drops the row. */
const UNSUPPORTED: readonly Unsupported[] = [
  { path: ["fleet"], consequence: "each replica would download for itself" },
  { path: ["adminTls"], consequence: "the admin port would be served in the clear" },
];

/** Why a key is refused by this version; undefined when no version knows it. */
export function explainUnsupported(path: readonly (string | number)[]): string | undefined {
  const row = UNSUPPORTED.find(
    (candidate) =>
      candidate.path.length === path.length &&
      candidate.path.every((key, index) => key === path[index]),
  );
  const key = path.join(".");
  return row && `${key} is not supported by this version: without it ${row.consequence}`;
}
