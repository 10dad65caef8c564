/** Starts the quickstart in the first free folder: runs/quickstart, runs/quickstart-2, ... */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

let output = "runs/quickstart";
for (let n = 2; existsSync(output); n++) output = `runs/quickstart-${n}`;
const { status } = spawnSync(process.execPath, ["dist/cli/main.js", "train", "examples/quickstart/quickstart.yaml", `output=${output}`], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
