/** Checkpoints whose tensors have the names of old versions, of bare models or of wrappers give the same loss as the fixture that they were made from. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { collate } from "../../src/data/batches.ts";
import { sameToken } from "../../src/data/collators.ts";
import { openModel } from "../../src/execution/loaded-model.ts";
import { full } from "../../src/methods/full.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { backend, batchOf, openTinyModel, reference } from "./tiny-model.ts";

const temporary = mkdtempSync(join(tmpdir(), "tunesmith-names-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

/** A copy of a fixture with other names in the header of its safetensors file; undefined leaves a tensor out. */
function renamed(name: string, rename: (tensor: string) => string | undefined): string {
  const folder = mkdtempSync(join(temporary, "model-"));
  cpSync(join(reference, name), folder, { recursive: true });
  const file = join(folder, "model.safetensors");
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)) as Record<string, unknown>;
  const entries = Object.entries(header).flatMap(([tensor, entry]) => {
    const now = tensor === "__metadata__" ? tensor : rename(tensor);
    return now === undefined ? [] : [[now, entry] as const];
  });
  const written = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(written.length));
  writeFileSync(file, Buffer.concat([size, written, bytes.subarray(8 + headerLength)]));
  return folder;
}
const read = <Content>(file: string): Content => JSON.parse(readFileSync(join(reference, file), "utf8")) as Content;
const asOldBert = (tensor: string): string =>
  tensor.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta");

describe("the loss is the reference's", () => {
  it.each([
    ["gamma and beta", asOldBert],
    ["no outer module", (tensor: string) => asOldBert(tensor).replace(/^bert\./, "")],
    ["a module more", (tensor: string) => `module.${tensor}`],
  ])("BERT with %s", async (_, rename) => {
    const { inputIds, tokenTypeIds, labels, loss } = read<Record<"inputIds" | "tokenTypeIds" | "labels", number[][]> & { loss: number }>(
      "encoders/bert/reference.json",
    );
    const batch = collate(
      inputIds.map((ids, i) => [
        {
          ...{ inputIds: Int32Array.from(ids), labels: Int32Array.from(labels[i]!) },
          tokenTypeIds: Int32Array.from(tokenTypeIds[i]!),
        },
      ]),
      sameToken,
    );
    const { engine } = await openTinyModel({ folder: renamed("encoders/bert", rename), attach: (target) => full.attach(target) });
    const { lossSum, tokens } = await engine.evaluate(batch);
    expect(Math.abs(lossSum / tokens - loss)).toBeLessThan(1e-5);
  });

  it.each([
    ["gpt2", (tensor: string) => tensor.replace(/^transformer\./, "")],
    ["llama", (tensor: string) => tensor.replace(/^model\./, "")],
    ["gpt_neox", (tensor: string) => tensor.replace(/^gpt_neox\./, "")],
    ["opt", (tensor: string) => `_orig_mod.${tensor}`],
  ])("%s as a bare or a compiled model writes it", async (family, rename) => {
    const { inputIds, loss } = read<{ inputIds: number[][]; loss: number }>(`families/${family}/reference.json`);
    const { engine } = await openTinyModel({ folder: renamed(`families/${family}`, rename), attach: (target) => full.attach(target) });
    const { lossSum, tokens } = await engine.evaluate(batchOf(inputIds));
    expect(Math.abs(lossSum / tokens - loss)).toBeLessThan(1e-5);
  });
});

it("a BERT without any head takes one for labels, which begins at random", async () => {
  const folder = renamed("encoders/bert", (tensor) => (tensor.startsWith("bert.") ? asOldBert(tensor).slice("bert.".length) : undefined));
  writeFileSync(join(folder, "vocab.txt"), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].join("\n"));
  const task = { head: { name: "sequence-classification", numLabels: 3 }, peftTaskType: "SEQ_CLS" } as const;
  const { fresh, store } = await openModel({ folder: openFolder(folder), backend, task });
  expect(fresh).toEqual(expect.arrayContaining(["classifier.weight", "classifier.bias"]));
  expect(fresh.filter((name) => name.startsWith("bert.encoder"))).toEqual([]);
  expect(store.parameters.has("bert.encoder.layer.0.output.LayerNorm.weight")).toBe(true);
});

it("weights of another model are called that", async () => {
  const folder = renamed("encoders/bert", (tensor) => `vision.${tensor.replaceAll(".", "_")}`);
  await expect(openTinyModel({ folder, attach: (target) => full.attach(target) })).rejects.toThrow(
    /none of the \d+ tensors that config\.json implies is in the file.*expected bert\.embeddings/,
  );
});
