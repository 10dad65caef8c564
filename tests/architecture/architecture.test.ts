/** The rules of the house, as tests: imports go down the floors, no cycles, registries are complete, files stay small. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const floors: Readonly<Record<string, number>> = {
  ...{ base: 0, data: 1, tensor: 1, platform: 2, backends: 2, models: 2, methods: 3, objectives: 3, optimizers: 3 },
  ...{ execution: 4, generation: 5, trainers: 5, evaluation: 6, export: 7, tasks: 7, runs: 8, cli: 11 },
};
const largest = 400;
/** Longer files, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {};

const listFiles = (folder: string): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
const sources = listFiles("src").filter((file) => file.endsWith(".ts"));
const product = sources.filter((file) => !file.endsWith(".test.ts"));
const text = (file: string): string => readFileSync(join(root, file), "utf8");
const floorOf = (file: string): string | undefined => (file.split("/").length > 2 ? file.split("/")[1] : undefined);

function importsOf(file: string): string[] {
  return [...text(file).matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map(([, path]) =>
    relative(root, resolve(root, dirname(file), path!)),
  );
}

describe("floors", () => {
  it("every folder has one", () => {
    expect([...new Set(product.map(floorOf).filter((floor) => floor !== undefined))].filter((floor) => !(floor in floors))).toEqual([]);
  });

  it("imports go down only", () => {
    const upward = product.flatMap((file) =>
      importsOf(file)
        .filter((imported) => {
          const [from, to] = [floorOf(file), floorOf(imported)];
          return from !== undefined && to !== undefined && from !== to && floors[to]! >= floors[from]!;
        })
        .map((imported) => `${file} -> ${imported}`),
    );
    expect(upward).toEqual([]);
  });

  it("has no cycles", () => {
    const state = new Map<string, "open" | "done">();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
        return;
      }
      state.set(file, "open");
      const runtime = [...text(file).matchAll(/^(?:import|export)(?! type)[^;]*?from\s*"(\.[^"]+)"/gm)].map(([, to]) =>
        relative(root, resolve(root, dirname(file), to!)),
      );
      for (const next of runtime) if (existsSync(join(root, next))) visit(next, [...path, file]);
      state.set(file, "done");
    };
    for (const file of product) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("keeps Node's modules in platform/node and cli", () => {
    const allowed = (file: string): boolean => file.startsWith("src/platform/node/") || file.startsWith("src/cli/");
    expect(product.filter((file) => !allowed(file) && /from "(node:|onnxruntime-node|@duckdb)/.test(text(file)))).toEqual([]);
  });
});

describe("registries", () => {
  const notMembers =
    /registry|\.test|^(combiner|command|format|task|labels|examples|probabilities|answer-windows|best-answers|decoder-start|shifted-documents|task-metric|label-counts|correlation|entities|answer-words|ranks|by-item|method|objective|cross-entropy|optimizer|schedule|processor|index|define|match-modules|for-task|regularisers|largest-first|sample-token|softmax|error-function|backend|reference)\.ts$/;
  it.each([
    "src/data/formats",
    "src/methods",
    "src/objectives",
    "src/optimizers",
    "src/optimizers/schedules",
    "src/models/families",
    "src/tasks",
    "src/evaluation/task-metrics",
    "src/cli/commands",
    "src/export/merging/combiners",
    "src/generation/sampling",
  ])("%s lists every file", (folder) => {
    const registry = text(`${folder}/registry.ts`);
    const members = readdirSync(join(root, folder)).filter((file) => file.endsWith(".ts") && !notMembers.test(file));
    expect(members.filter((file) => !registry.includes(`"./${file}"`))).toEqual([]);
  });

  it.each([
    "src/data/formats",
    "src/methods",
    "src/objectives",
    "src/optimizers",
    "src/optimizers/schedules",
    "src/models/families",
    "src/tasks",
    "src/evaluation/task-metrics",
    "src/cli/commands",
    "src/export/merging/combiners",
  ])("%s: file name is member name", (folder) => {
    const members = readdirSync(join(root, folder)).filter((file) => file.endsWith(".ts") && !notMembers.test(file));
    expect(members.filter((file) => !text(`${folder}/${file}`).includes(`name: "${file.replace(".ts", "")}"`))).toEqual([]);
  });
});

describe("files", () => {
  it(`have at most ${largest} lines, or a reason`, () => {
    expect(sources.filter((file) => text(file).split("\n").length > largest && !(file in longFiles))).toEqual([]);
  });

  it("say what they hold: no utils, helpers or managers", () => {
    expect(sources.filter((file) => /(^|[/-])(utils?|helpers?|manager|misc)([/.-]|$)/.test(file))).toEqual([]);
  });

  it("open with a comment that says what they are for", () => {
    expect(product.filter((file) => !/^(#!.*\n)?\/\*\*/.test(text(file)))).toEqual([]);
  });

  it("name no registry host and no path of one machine", () => {
    const committed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8" })
      .split("\n")
      .filter((file) => /\.(ts|py|md|json|ya?ml|mjs)$/.test(file));
    const host = new RegExp([["registry", "npmjs"].join("\\."), ["/work", "main"].join("/")].join("|"));
    expect(committed.filter((file) => existsSync(join(root, file)) && host.test(text(file)))).toEqual([]);
  });
});
