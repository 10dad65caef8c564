/** Packs the package, installs it in an empty folder and runs its command there: what is published must work elsewhere. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-package-"));
const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], resolve(".")));
  const unwanted = packed.files.map(({ path }) => path).filter((path) => /\.test\.|^(src|tests|bench|tools)\//.test(path));
  if (unwanted.length > 0) throw new Error(`the package holds files that do not belong there: ${unwanted.slice(0, 5).join(", ")}`);
  writeFileSync(join(folder, "package.json"), "{}");
  run("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", join(folder, packed.filename)], folder);
  const version = run("npx", ["tunesmith", "--version"], folder).trim();
  const list = run("npx", ["tunesmith", "list", "methods"], folder);
  if (!list.includes("lora")) throw new Error(`"tunesmith list methods" printed: ${list}`);
  console.log(
    `package ${packed.filename}: ${packed.files.length} files, ${(packed.size / 1e6).toFixed(1)} MB; installed elsewhere, runs as tunesmith ${version}`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
