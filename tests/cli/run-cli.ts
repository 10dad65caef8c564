/** Runs the built command line in a process of its own. `npm test` builds before it tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");
const main = resolve(root, "dist/cli/main.js");

export interface CliResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param onLine called with every line of standard error and the process, for tests that interrupt it */
export function runCli(args: readonly string[], onLine: (line: string, child: ChildProcess) => void = () => {}): Promise<CliResult> {
  const child = spawn(process.execPath, [main, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr, pending] = ["", "", ""];
  child.stdout.on("data", (piece) => {
    stdout += piece;
  });
  child.stderr.on("data", (piece) => {
    stderr += piece;
    const lines = (pending + piece).split("\n");
    pending = lines.pop()!;
    for (const line of lines) onLine(line, child);
  });
  return new Promise((done) => child.on("close", (code, signal) => done({ code, signal, stdout, stderr })));
}
