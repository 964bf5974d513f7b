import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openOutput } from "../../server/cli/output-file.ts";

async function write(name: string, text: string): Promise<void> {
  await using output = await openOutput(name);
  await output.write(Buffer.from(text));
  await output.commit();
}

t.test("a link where the unfinished file goes is not followed", async (t) => {
  const folder = t.testdir({ other: "precious" });
  symlinkSync(join(folder, "other"), join(folder, "out.tar.partial"));
  await write(join(folder, "out.tar"), "archive");
  t.equal(readFileSync(join(folder, "other"), "utf8"), "precious");
  t.equal(readFileSync(join(folder, "out.tar"), "utf8"), "archive");
  t.ok(lstatSync(join(folder, "out.tar")).isFile());
});

t.test("a link to a file stays one", async (t) => {
  const folder = t.testdir({ real: { "out.tar": "old" } });
  symlinkSync(join(folder, "real", "out.tar"), join(folder, "link.tar"));
  await write(join(folder, "link.tar"), "archive");
  t.ok(lstatSync(join(folder, "link.tar")).isSymbolicLink());
  t.equal(readFileSync(join(folder, "real", "out.tar"), "utf8"), "archive");
});

t.test(
  "a device is written, and never replaced",
  { skip: !existsSync("/dev/null") && "there is no /dev/null here" },
  async (t) => {
    const folder = t.testdir({});
    // By way of a link, so that nothing is lost should it be replaced after all.
    const link = join(folder, "null");
    symlinkSync("/dev/null", link);
    await write(link, "archive");
    t.same(readdirSync(folder), ["null"]);
    t.ok(lstatSync(link).isSymbolicLink());
    t.ok(lstatSync("/dev/null").isCharacterDevice());
  },
);

t.test("a folder is refused before anything is written", async (t) => {
  const folder = t.testdir({});
  mkdirSync(join(folder, "out"));
  await t.rejects(openOutput(join(folder, "out")), { message: /is a folder: name a file in it/ });
  t.same(readdirSync(folder), ["out"]);
});

t.test("what was not finished leaves what was there", async (t) => {
  const folder = t.testdir({});
  const name = join(folder, "out.tar");
  writeFileSync(name, "old");
  {
    await using output = await openOutput(name);
    await output.write(Buffer.from("half"));
  }
  t.equal(readFileSync(name, "utf8"), "old");
  t.same(readdirSync(folder), ["out.tar"]);
});
