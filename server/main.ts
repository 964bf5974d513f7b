#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError } from "commander";
import packageJson from "../package.json" with { type: "json" };
import { ConfigError } from "./config/errors.ts";

// V8 would grow the nursery to 32 MiB at the start and keep it: measured, that buys nothing here.
setFlagsFromString("--semi-space-growth-factor=1");
// What is compiled here is not compiled at the next start; where nothing can be written, it is.
enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "sluice"));

// Disk and DNS share libuv's pool, and four threads let one slow disk stop every look-up. It is
// read when the pool is first used: commands are imported after this line, never above it.
process.env["UV_THREADPOOL_SIZE"] ??= "16";

interface ExplainOptions {
  readonly config?: string;
  readonly credentials?: true;
  readonly json?: true;
}

const EXIT_REFUSED = 1;
const EXIT_USAGE = 2;

process.exitCode = await main(process.argv);

/** Runs a command line. 0: done; 1: refused, or found wrong; 2: wrong usage. */
async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = commandLine((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? 0 : EXIT_USAGE;
    }
    process.stderr.write(`${describe(error)}\n`);
    return EXIT_REFUSED;
  }
}

function commandLine(exitWith: (code: number) => void): Command {
  const program = new Command("sluice")
    .description("A streaming, pull-through caching OCI registry proxy")
    .version(packageJson.version)
    .exitOverride()
    .showHelpAfterError("(--help says what is possible)");

  program
    .command("serve")
    .description("run the proxy")
    .option("--config <file>", "configuration; without it, the public registries on loopback")
    .action(async (options: { readonly config?: string }) => {
      const { serve } = await import("./cli/serve.ts");
      await serve(options);
    });

  program
    .command("check")
    .description("validate a configuration and print what is in effect")
    .argument("<file>", "configuration")
    .option("--json", "print JSON")
    .action(async (file: string, options: { readonly json?: true }) => {
      const { check } = await import("./cli/check.ts");
      exitWith(check(file, options));
    });

  program
    .command("schema")
    .description("print the configuration's JSON Schema, for editors")
    .action(async () => {
      const { publishedSchema } = await import("./config/schema.ts");
      process.stdout.write(publishedSchema());
    });

  program
    .command("explain")
    .description("say of an image what the policy would, and why")
    .argument("<image>", "registry.k8s.io/pause:3.9, ghcr.io/acme/app@sha256:…")
    .option("--config <file>", "configuration; without it there is no policy")
    .option("--credentials", "say instead which log-in its registry would be asked with, and why")
    .option("--json", "print JSON")
    .action(async (image: string, options: ExplainOptions) => {
      if (options.credentials) {
        const { explainCredentials } = await import("./cli/explain-credentials.ts");
        exitWith(await explainCredentials(image, options));
        return;
      }
      const { explain } = await import("./cli/explain.ts");
      exitWith(await explain(image, options));
    });

  addHosts(program, exitWith);
  addVerifyBundle(program, exitWith);
  return program;
}

function addHosts(program: Command, exitWith: (code: number) => void): void {
  program
    .command("hosts")
    .description("write containerd's certs.d folders, or say where they leave a way round")
    .argument("<dir>", "the folder that containerd's config_path names: /etc/containerd/certs.d")
    .option("--address <url>", "where nodes reach the proxy: http://sluice.example:5000")
    .option("--check", "write nothing: report every file that leaves a way round the proxy")
    .option("--config <file>", "take the registries from this configuration")
    .option("--upstreams <names>", "take these registries, separated by commas")
    .option("--ca <file>", "the proxy's certificate authority, as nodes have it")
    .option("--client-cert <file>", "the node's certificate, as nodes have it")
    .option("--client-key <file>", "its private key")
    .option("--header <line>", 'sent with every request: "X-Node: a"; repeatable', append)
    .option("--header-file <file>", "headers from a file, a line each: what is secret stays unseen")
    .option("--force", "overwrite files that are not ours")
    .option("--json", "print JSON")
    .action(async (dir: string, options: object, command: Command) => {
      const { hosts } = await import("./cli/hosts.ts");
      exitWith(hosts(dir, options, (message) => command.error(message)));
    });
}

function addVerifyBundle(program: Command, exitWith: (code: number) => void): void {
  program
    .command("verify-bundle")
    .description("verify a Sigstore bundle for a file, or for what has a digest")
    .argument("<file-or-digest>", "what must have been signed: a file, or sha256:…")
    .requiredOption("--bundle <file>", "the bundle, JSON")
    .option("--certificate-identity <subject>", "who must have signed, exactly")
    .option("--certificate-oidc-issuer <url>", "who must have vouched for them, exactly")
    .option("--key <file>", "the public key that must have signed, PEM")
    .option("--trusted-root <file>", "a Sigstore trusted root; without it, the public good one")
    .action(async (target: string, options: { readonly bundle: string }, command: Command) => {
      const { verifyBundle } = await import("./cli/verify-bundle.ts");
      exitWith(verifyBundle(target, options, (message) => command.error(message)));
    });
}

function append(line: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), line];
}

function describe(error: unknown): string {
  if (error instanceof ConfigError) {
    return error.message;
  }
  // A system error is the operator's to mend; anything else is ours, and needs its stack.
  const isOperational = error instanceof Error && "code" in error;
  return isOperational || !(error instanceof Error)
    ? `sluice: ${isOperational ? error.message : String(error)}`
    : `sluice: ${error.stack ?? error.message}`;
}
