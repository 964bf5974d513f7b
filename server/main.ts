#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError } from "commander";
import packageJson from "../package.json" with { type: "json" };
import type { ExportOptions } from "./cli/export.ts";
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

  addPurge(program, exitWith);
  addScrub(program, exitWith);
  addAirGap(program, exitWith);
  addHosts(program, exitWith);
  addVerifyBundle(program, exitWith);
  return program;
}

function addPurge(program: Command, exitWith: (code: number) => void): void {
  program
    .command("purge")
    .description("remove from the store what is held of an image, of a registry, or for too long")
    .argument(
      "[image]",
      "team.example/app, team.example/app:v1, …@sha256:…; * and ** are wildcards",
    )
    .option("--upstream <name>", "all that is held of a registry")
    .option("--older-than <age>", "what was not used for so long: 30d, 12h")
    .option("--config <file>", "configuration; without it, the store is ./data")
    .option("--dry-run", "remove nothing: say what would be")
    .option("--admin <url>", "the admin API of a running proxy; without it, whoever uses the store")
    .option("--token-file <file>", "the token of its adminTokenFile")
    .option("--json", "print JSON")
    .action(async (image: string | undefined, options: object, command: Command) => {
      const { purge } = await import("./cli/purge.ts");
      exitWith(await purge(image, options, (message) => command.error(message)));
    });
}

function addScrub(program: Command, exitWith: (code: number) => void): void {
  program
    .command("scrub")
    .description("hash again all that the store holds, and put aside what is damaged")
    .option("--config <file>", "configuration; without it, the store is ./data")
    .option("--rate <bytes>", "bytes a second: 100MiB (default: 50MB)")
    .option("--dry-run", "put nothing aside: say what is damaged")
    .option("--admin <url>", "the admin API of a running proxy; without it, whoever uses the store")
    .option("--token-file <file>", "the token of its adminTokenFile")
    .option("--json", "print JSON")
    .action(async (options: object, command: Command) => {
      const { scrub } = await import("./cli/scrub.ts");
      exitWith(await scrub(options, (message) => command.error(message)));
    });
}

function addAirGap(program: Command, exitWith: (code: number) => void): void {
  program
    .command("export")
    .description("write images with their signatures into one file, to be carried to another site")
    .argument("<image...>", "registry.k8s.io/pause:3.9, ghcr.io/acme/app@sha256:…")
    .requiredOption(
      "-o, --output <file>",
      "the file, an OCI image layout in a tar archive; - is stdout",
    )
    .option("--config <file>", "configuration; without it, the public registries and no policy")
    .option("--platform <os/arch>", "only this platform of an index; repeatable", append)
    .option("--no-signatures", "leave out signatures, attestations and all other referrers")
    .option("--json", "print JSON")
    .action(async (images: string[], options: ExportOptions, command: Command) => {
      const { exportImages } = await import("./cli/export.ts");
      exitWith(await exportImages(images, options, (message) => command.error(message)));
    });

  program
    .command("import")
    .description("fill the store from such a file, so that it is served without the registries")
    .argument("<file>", "an OCI image layout, as a tar archive or a folder")
    .option("--config <file>", "configuration; without it, the public registries and no policy")
    .option("--dry-run", "only say what would be imported, and what is refused")
    .option("--json", "print JSON")
    .action(async (file: string, options: object) => {
      const { importImages } = await import("./cli/import.ts");
      exitWith(await importImages(file, options));
    });
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
