import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** A secret that is looked for wherever it does not belong. Short, as passwords are. */
export interface Canary {
  readonly name: string;
  readonly value: string;
}

/** Somewhere that something was written or sent to. */
export interface Place {
  readonly name: string;
  readonly text: string;
  /** Canaries that belong there. */
  readonly mayHave?: readonly string[];
}

/** With characters that are written otherwise in urls and in base64. */
export function canary(name: string): Canary {
  return { name, value: `Hush+7/${name}.${name.length}` };
}

/** Every canary in every place where it does not belong: `log: auth-file as base64`. */
export function leaksIn(places: readonly Place[], canaries: readonly Canary[]): readonly string[] {
  const found: string[] = [];
  for (const one of canaries) {
    const forms = formsOf(one.value);
    for (const { name, text, mayHave = [] } of places) {
      const form = forms.find(([, spelling]) => text.includes(spelling));
      if (form !== undefined && !mayHave.includes(one.name)) {
        found.push(`${name}: ${one.name} as ${form[0]}: ${around(text, form[1])}`);
      }
    }
  }
  return found;
}

function formsOf(value: string): readonly (readonly [form: string, spelling: string])[] {
  const bytes = Buffer.from(value);
  const base64 = [0, 1, 2].map((shift) => insideOf(value, shift));
  return [
    ["it is", value],
    ["JSON", JSON.stringify(value).slice(1, -1)],
    ["part of a url", encodeURIComponent(value)],
    ["part of a form", new URLSearchParams({ a: value }).toString().slice(2)],
    ["hex", bytes.toString("hex")],
    ["HEX", bytes.toString("hex").toUpperCase()],
    ...base64.map((spelling): [string, string] => ["base64", spelling]),
    ...base64.map((spelling): [string, string] => [
      "base64url",
      spelling.replaceAll("+", "-").replaceAll("/", "_"),
    ]),
  ];
}

/** As it stands in the middle of base64, whatever is before and after it. */
function insideOf(value: string, shift: number): string {
  const text = Buffer.from("x".repeat(shift) + value).toString("base64");
  return text.slice(shift === 0 ? 0 : 4, -4);
}

function around(text: string, spelling: string): string {
  const at = text.indexOf(spelling);
  return text.slice(Math.max(0, at - 120), at + spelling.length + 40).replaceAll("\n", " ");
}

/** All files below a folder, as places. */
export function filesBelow(folder: string): readonly Place[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => ({ name: path.slice(folder.length), text: readFileSync(path, "latin1") }));
}
