import { existsSync } from "node:fs";
import { glob, readFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import t from "tap";

/**
 * Which folder may import which. Read top to bottom, it is the path of a pull; nothing may point
 * upwards. Biome's noImportCycles cannot say this: it only sees loops.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | "all">> = {
  server: "all", // app.ts composes; a leaf that imports upwards is a cycle, which Biome finds
  "server/cli": "all",
  // To say at once what is wrong with the files that a configuration names.
  "server/config": [
    "server/policy",
    "server/policy/notation",
    "server/policy/trust",
    "server/clients",
    "server/credentials",
    "server",
  ],
  "server/admin": ["server/cache", "server/oci", "server", "storage"],
  "server/http": [
    "server/policy",
    "server/clients",
    "server/cache",
    "server/upstream",
    "server/credentials",
    "server/oci",
    "server",
    "storage",
  ],
  "server/policy": [
    "server/policy/sigstore",
    "server/policy/notation",
    "server/policy/trust",
    "server/cache",
    "server/oci",
    "server",
    "storage",
  ],
  // What signatures are measured with: of the policy they know the seams, authority and evidence.
  "server/policy/sigstore": [
    "server/policy/trust",
    "server/policy",
    "server/oci",
    "server",
    "storage",
  ],
  "server/policy/notation": [
    "server/policy/sigstore",
    "server/policy",
    "server/oci",
    "server",
    "storage",
  ],
  "server/policy/trust": ["server/policy", "server"],
  // Who asks us, and what they may: their log-ins are checked here, or at the upstream they are for.
  "server/clients": [
    "server/credentials",
    "server/upstream",
    "server/cache",
    "server/oci",
    "server",
    "storage",
  ],
  // Files that carry images: pulled like by any client, and a file in place of a registry.
  "server/air-gap": [
    "server/http",
    "server/policy",
    "server/cache",
    "server/upstream",
    "server/credentials",
    "server/oci",
    "server",
    "storage",
  ],
  "server/cache": ["server/upstream", "server/oci", "server", "storage"],
  "server/upstream": ["server/credentials", "server/oci", "server", "storage"],
  "server/credentials": ["server"],
  "server/oci": ["server", "storage"],
  storage: [],
};
const IMPORT_PATTERN = /\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g;
const LINES_MAX = 400;
/** A table: its worth is that every bound stands in the one place. */
const TABLES: ReadonlySet<string> = new Set(["server/limits.ts"]);
const LINK_PATTERN = /\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g;

t.test("imports only point down the path of a pull", async (t) => {
  for await (const file of glob("{server,storage}/**/*.ts")) {
    const folder = dirname(file);
    const allowed = MAY_IMPORT[folder];
    if (allowed === undefined) {
      t.fail(`${folder} has no row in MAY_IMPORT`);
      continue;
    }
    if (allowed === "all") {
      continue;
    }
    for (const [, specifier = ""] of (await readFile(file, "utf8")).matchAll(IMPORT_PATTERN)) {
      const target = posix.dirname(posix.join(folder, specifier));
      t.ok(target === folder || allowed.includes(target), `${file} imports ${specifier}`);
    }
  }
});

t.test("a source file fits in a reader's head", async (t) => {
  for await (const file of glob("{server,storage,bench}/**/*.ts")) {
    const lines = (await readFile(file, "utf8")).split("\n").length;
    t.ok(
      lines <= LINES_MAX || TABLES.has(file),
      `${file} has ${lines} lines, at most ${LINES_MAX}`,
    );
  }
});

t.test("links in documents lead somewhere", async (t) => {
  for (const file of ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md"]) {
    for (const [, link = ""] of (await readFile(file, "utf8")).matchAll(LINK_PATTERN)) {
      t.ok(existsSync(join(dirname(file), link)), `${file} links to ${link}`);
    }
  }
});
