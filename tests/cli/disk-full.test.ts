/** A disk that fills up while training: a real small file system. Needs the right to mount one; skips, and says so, without it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-full-"));
const mount = (...args: string[]): void => void execFileSync("mount", args, { stdio: "ignore" });
const mounted = (() => {
  try {
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", folder);
    return true;
  } catch {
    console.log("skipped: a full disk: this process may not mount a small file system");
    return false;
  }
})();
afterAll(() => {
  if (mounted) execFileSync("umount", [folder]);
  rmSync(folder, { recursive: true, force: true });
});

it.skipIf(!mounted)("is explained, loses no checkpoint, and the run goes on once there is room", async () => {
  const config = join(folder, "run.yaml");
  writeFileSync(
    config,
    `model: examples/base-model/checkpoint\ndata: { train: examples/quickstart/instructions.jsonl }\nmethod: { name: lora, rank: 16 }\ntraining: { maxSteps: 6, saveEvery: 2, evalEvery: 6 }\noutput: ${join(folder, "run")}\n`,
  );
  const full = await runCli(["train", config]);
  expect(full.code).toBe(1);
  expect(full.stderr).toMatch(/checkpoint-4 could not be written: the disk is full.*--resume/);
  mount("-o", "remount,size=64m", folder);
  const resumed = await runCli(["train", config, "--resume"]);
  expect(resumed.stderr).toMatch(/resumed from step 2/);
  expect(resumed.code).toBe(0);
});
