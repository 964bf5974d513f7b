import t from "tap";
import { Progress, readableBytes } from "../../server/cli/progress.ts";

function record(
  isTTY: boolean,
  isQuiet = false,
): { readonly progress: Progress; readonly written: string[]; wait(ms: number): void } {
  const written: string[] = [];
  let nowMs = 0;
  const output = { isTTY, write: (text: string) => written.push(text) };
  const progress = new Progress(output, { isQuiet, now: () => nowMs });
  return {
    progress,
    written,
    wait: (ms) => {
      nowMs += ms;
    },
  };
}

t.test("a terminal has a bar that is drawn again in place, and goes at the end", async (t) => {
  const { progress, written, wait } = record(true);
  progress.show({ done: 0, total: 4, text: "at once" });
  wait(100);
  progress.show({ done: 1, total: 4, text: "1 blob" });
  wait(50);
  progress.show({ done: 2, total: 4, text: "too soon" });
  wait(50);
  progress.show({ done: 9, total: 4, text: "more than all" });
  progress.end();
  t.same(written, [
    "\r\u001b[K[######------------------] 25 %  1 blob",
    "\r\u001b[K[########################] 100 %  more than all",
    "\r\u001b[K",
  ]);
});

t.test("elsewhere a line is written now and then, and nothing when a machine reads", async (t) => {
  for (const isQuiet of [false, true]) {
    const { progress, written, wait } = record(false, isQuiet);
    wait(9999);
    progress.show({ done: 1, total: 2, text: "too soon" });
    wait(1);
    progress.show({ done: 1, total: 2, text: "half" });
    wait(10_000);
    progress.show({ done: 1, text: "of nobody knows" });
    progress.end();
    t.same(written, isQuiet ? [] : ["50 %  half\n", "of nobody knows\n"]);
  }
});

t.test("sizes are for people", async (t) => {
  const sizes = [0, 1023, 1024, 1_572_864, 5e9, 2 ** 50].map(readableBytes);
  t.same(sizes, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "4.7 GiB", "1024.0 TiB"]);
});
