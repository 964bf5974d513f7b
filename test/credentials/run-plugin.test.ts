import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { PluginResult } from "../../server/credentials/run-plugin.ts";
import { runPlugin } from "../../server/credentials/run-plugin.ts";
import { CREDENTIAL_LIMITS } from "../../server/limits.ts";

let plugins = 0;

/** A plugin written for Node, as an executable file. */
function plugin(folder: string, source: string): string {
  plugins += 1;
  const path = join(folder, `plugin-${plugins}`);
  writeFileSync(path, `#!${process.execPath}\n${source}\n`);
  chmodSync(path, 0o755);
  return path;
}

interface Given {
  readonly args?: readonly string[];
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly deadline?: AbortSignal;
}

/** Without a deadline unless one is given: what is slow on a busy machine is no failure. */
function run(command: string, given: Given = {}): Promise<PluginResult> {
  const { args = [], input = "", env = {}, deadline = new AbortController().signal } = given;
  return runPlugin({ command, args, input, env, description: "the plugin" }, { deadline });
}

/** Processes connect to it; a connection ends with the process, however that ends. */
class Roll {
  readonly connect: string;
  readonly #connected: Socket[] = [];
  #wake: () => void = () => undefined;

  static async start(t: Test): Promise<Roll> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    t.teardown(() => server.close());
    const roll = new Roll((server.address() as AddressInfo).port);
    server.on("connection", (socket) => roll.#add(socket));
    return roll;
  }

  private constructor(port: number) {
    this.connect = `require("node:net").connect(${port}, "127.0.0.1");`;
  }

  async wait(count: number): Promise<void> {
    while (this.#connected.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async gone(): Promise<void> {
    const open = this.#connected.filter((socket) => !socket.closed);
    await Promise.all(open.map((socket) => once(socket, "close")));
  }

  #add(socket: Socket): void {
    this.#connected.push(socket.on("error", () => undefined).resume());
    this.#wake();
  }
}

t.test("a plugin gets its arguments, its input and its environment, and no shell", async (t) => {
  const command = plugin(
    t.testdir({}),
    `let input = "";
     process.stdin.on("data", (chunk) => { input += chunk; }).on("end", () => {
       const { GIVEN, HOME } = process.env;
       console.log(JSON.stringify({ args: process.argv.slice(2), input, GIVEN, HOME }));
       console.error("for people");
       process.exitCode = 3;
     });`,
  );
  const args = ["get", "$(id); `id`", "*"];
  const result = await run(command, { args, input: "a.example\n", env: { GIVEN: "x y" } });
  const { HOME } = process.env;
  t.same(JSON.parse(result.stdout), { args, input: "a.example\n", GIVEN: "x y", HOME });
  t.equal(result.stderr, "for people");
  t.equal(result.exitCode, 3);
});

t.test("a plugin that never reads its input is none the worse for it", async (t) => {
  const command = plugin(t.testdir({}), `process.stdin.destroy(); console.log("done");`);
  const result = await run(command, { input: "x".repeat(4_000_000) });
  t.match(result, { exitCode: 0, stdout: "done\n" });
});

t.test("a plugin that a signal ended has the exit code that a shell would show", async (t) => {
  const source = `process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000);`;
  t.match(await run(plugin(t.testdir({}), source)), { exitCode: 143 });
});

t.test("what cannot be started is told with what to do", async (t) => {
  const folder = t.testdir({ "not-executable": "#!/bin/sh\n" });
  const cases: [command: string, message: RegExp][] = [
    [
      "docker-credential-nowhere",
      /^the plugin cannot be run: there is no docker-credential-nowhere on PATH \(\/empty:\/void\)/,
    ],
    [join(folder, "missing"), /there is no .*missing, or not the interpreter/],
    [join(folder, "not-executable"), /not-executable may not be executed by user \d+/],
    ["nul\0byte", /cannot be run: starting .* failed \(ERR_INVALID_ARG_VALUE\)/],
  ];
  for (const [command, message] of cases) {
    const rejected = run(command, { env: { PATH: "/empty:/void" } });
    await t.rejects(rejected, { name: "CredentialError", message }, command);
  }
});

t.test("a plugin that hangs is killed with all that it started", async (t) => {
  const roll = await Roll.start(t);
  const command = plugin(
    t.testdir({}),
    `process.on("SIGTERM", () => 0);
     console.log("my-secret");
     process.stderr.write("waiting for \\u001b[31mthe network\\n", () => {
       require("node:child_process")
         .spawn(process.execPath, ["-e", ${JSON.stringify(roll.connect)}], { stdio: "inherit" });
       ${roll.connect}
     });`,
  );
  const deadline = new AbortController();
  const result = run(command, { deadline: deadline.signal }).catch((error: unknown) => error);
  await roll.wait(2);
  deadline.abort();
  const error = await result;
  t.match(error, {
    name: "CredentialError",
    message:
      /^the plugin did not end within 20 s and was killed; .* \(it said: waiting for \[31mthe network\)$/,
  });
  t.notMatch(String(error), /my-secret/);
  await roll.gone();
});

t.test("a plugin that leaves something running is not waited for", async (t) => {
  const folder = t.testdir({});
  const pidFile = join(folder, "pid");
  const leave = (detached: boolean): string =>
    plugin(
      folder,
      `const { spawn } = require("node:child_process");
       const child = spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"],
         { stdio: "inherit", detached: ${detached} });
       child.unref();
       require("node:fs").writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
       console.log("answer");`,
    );
  t.match(await run(leave(false)), { exitCode: 0, stdout: "answer\n" }, "in its group");
  t.match(await run(leave(true)), { exitCode: 0, stdout: "answer\n" }, "an agent, in its own");
  process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
});

t.test("a plugin that writes without end is killed, and is not quoted", async (t) => {
  const source = `setInterval(() => process.stdout.write("secret".repeat(10000)), 1);`;
  const error = await run(plugin(t.testdir({}), source)).catch((reason: unknown) => reason);
  t.match(error, {
    name: "CredentialError",
    message: /^the plugin wrote more than 1048576 bytes and was killed/,
  });
  t.notMatch(String(error), /secret/);
});

t.test("what a plugin says of a failure is bounded, printable, and no token", async (t) => {
  const folder = t.testdir({});
  const said = async (text: string): Promise<string> => {
    const source = `process.stderr.write(${JSON.stringify(text)}); process.exitCode = 1;`;
    return (await run(plugin(folder, source))).stderr;
  };
  const long = await said("no log-in: ".concat("word ".repeat(200_000)));
  t.equal(long.length, CREDENTIAL_LIMITS.pluginStderrMax);
  t.ok(long.startsWith("no log-in: word"));
  t.equal(await said("a\r\nb\u0001\u001b]0;title\u0007 ü c"), "a b ]0;title c");
  const token = Buffer.alloc(60, "a secret").toString("base64url");
  t.equal(await said(`got ${token} and failed`), "got [...] and failed");
  const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
  t.equal(await said(`cannot reach ${host}`), `cannot reach ${host}`);
});

t.test("only a few plugins run at once, and all come to their turn", async (t) => {
  const folder = t.testdir({ running: {} });
  const command = plugin(
    folder,
    `const fs = require("node:fs");
     const folder = ${JSON.stringify(join(folder, "running"))};
     const mine = folder + "/" + process.pid;
     fs.writeFileSync(mine, "");
     console.log(fs.readdirSync(folder).length);
     fs.unlinkSync(mine);`,
  );
  const results = await Promise.all(Array.from({ length: 10 }, () => run(command)));
  for (const { stdout } of results) {
    t.ok(Number(stdout) <= CREDENTIAL_LIMITS.pluginsMax, `${stdout.trim()} at once`);
  }
});

t.test("who waits too long for a turn is told so, and is not run", async (t) => {
  const roll = await Roll.start(t);
  const folder = t.testdir({});
  const hang = plugin(folder, roll.connect);
  const marker = join(folder, "ran");
  const late = plugin(folder, `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "");`);
  const deadline = new AbortController();
  const hanging = Promise.allSettled(
    Array.from({ length: CREDENTIAL_LIMITS.pluginsMax }, () =>
      run(hang, { deadline: deadline.signal }),
    ),
  );
  await roll.wait(CREDENTIAL_LIMITS.pluginsMax);
  const patience = new AbortController();
  const waiting = run(late, { deadline: patience.signal });
  patience.abort();
  const message = /^the plugin was not run: 4 others took 20 s and more/;
  await t.rejects(waiting, { name: "CredentialError", message });
  deadline.abort();
  await hanging;
  await roll.gone();
  t.notOk(existsSync(marker));
  t.match(await run(late), { exitCode: 0 }, "the next has its turn");
});
