import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isObject } from "../../json-object.ts";
import { memberOf, textOf } from "../bounded-json.ts";

let root: string | undefined;

/**
 * Sigstore's own trusted root as it was when the installed @sigstore/tuf was released: JSON text.
 * Its file of seeds is read at the first call; its code is not loaded.
 *
 * @throws Error when the package is not as it was.
 */
export function bundledPublicGoodRoot(): string {
  root ??= readSeed();
  return root;
}

function readSeed(): string {
  const file = createRequire(import.meta.url).resolve("@sigstore/tuf/seeds.json");
  const seeds: unknown = JSON.parse(readFileSync(file, "utf8"));
  const [first] = isObject(seeds) ? Object.values(seeds) : [];
  const encoded = textOf(memberOf(first, "targets"), "trusted_root.json");
  if (encoded === "") {
    throw new Error(`${file} holds no trusted root`);
  }
  return Buffer.from(encoded, "base64").toString("utf8");
}
