import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Options for `t.test` of a test that runs real tools: it runs when all are on PATH, and is printed
 * as skipped, by name, when one is not.
 *
 * @throws Error when one is missing and SLUICE_TEST_REQUIRE_TOOLS=1, so that a machine which is
 * meant to have them cannot pass by skipping.
 */
export function toolOptions(...tools: readonly string[]): { skip?: string } {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  if (missing.length === 0) {
    return {};
  }
  const reason = `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not on PATH`;
  if (process.env["SLUICE_TEST_REQUIRE_TOOLS"] === "1") {
    throw new Error(`${reason}, and SLUICE_TEST_REQUIRE_TOOLS=1 requires it`);
  }
  return { skip: reason };
}

/** The path of an executable on PATH, or undefined. */
export function findTool(tool: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, tool)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
