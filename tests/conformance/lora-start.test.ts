/** Starts of A and B that read the base weight, against PEFT: what is taken out of the base, what remains, and training from there. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { encodeAdapter, mergedParameter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { lora } from "../../src/methods/lora/lora.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { openRunFolder } from "../../src/platform/node/run-folder.ts";
import { expectSummary, type Summary } from "./expect-summary.ts";
import { batchOf, openTinyModel, reference } from "./tiny-model.ts";

interface StartReference {
  base: string;
  options: { r: number; lora_alpha: number; target_modules: string[]; init_lora_weights: string; use_dora?: boolean };
  updates: Record<string, Summary>;
  residuals: Record<string, Summary>;
  inputIds: number[][];
  learningRate: number;
  lossBeforeStep: number[];
  magnitudesAfter: Record<string, number[]>;
}

describe.each(readdirSync(`${reference}lora-start`))("%s", (file) => {
  const expected = JSON.parse(readFileSync(`${reference}lora-start/${file}`, "utf8")) as StartReference;
  const { options } = expected;
  const config = lora.configSchema.parse({
    ...{ name: "lora", rank: options.r, loraAlpha: options.lora_alpha, targetModules: options.target_modules },
    ...{ initLoraWeights: options.init_lora_weights, useDora: options.use_dora ?? false },
  });
  const open = () => openTinyModel({ folder: `${reference}${expected.base}`, attach: (target) => lora.attach(target, config) });
  const batch = batchOf(expected.inputIds);
  const loss = async ({ engine }: Pick<Awaited<ReturnType<typeof open>>, "engine">): Promise<number> => {
    const { lossSum, tokens } = await engine.evaluate(batch);
    return lossSum / tokens;
  };

  it("takes the same update out of the base weights, and trains alike", async () => {
    const { engine, store } = await open();
    const read = (name: string) => store.parameters.get(name)!.tensor.data as Float32Array;
    const scale = options.lora_alpha / options.r;
    for (const [module, summary] of Object.entries(expected.updates)) {
      const [a, b] = [read(`${module}.lora_A.weight`), read(`${module}.lora_B.weight`)];
      const [out, inner] = [b.length / options.r, a.length / options.r];
      const product = (o: number, i: number): number => {
        let sum = 0;
        for (let r = 0; r < options.r; r++) sum += b[o * options.r + r]! * a[r * inner + i]!;
        return scale * sum;
      };
      const [rows, columns] = summary.shape as [number, number];
      const turned = expected.base.endsWith("gpt2"); // Conv1D: [in, out]
      expect([rows, columns]).toEqual(turned ? [inner, out] : [out, inner]);
      const update = Float32Array.from({ length: rows * columns }, (_, at) => {
        const [row, column] = [Math.floor(at / columns), at % columns];
        return turned ? product(column, row) : product(row, column);
      });
      expectSummary(`update of ${module}`, update, summary, 1e-4);
      expectSummary(`residual of ${module}`, read(`${module}.weight`), expected.residuals[module]!, 1e-4);
    }
    for (const [step, value] of expected.lossBeforeStep.entries()) {
      const { lossSum, tokens } = await engine.accumulate(batch, { gradientScale: 1 / batch.targetLabels.length, seed: 0 });
      expect(Math.abs(lossSum / tokens - value), `loss before step ${step + 1}`).toBeLessThan(5e-5);
      for (const { parameters, gradients } of store.groups)
        for (let i = 0; i < parameters.length; i++) parameters[i]! -= expected.learningRate * gradients[i]!;
      engine.discardGradients();
    }
    for (const [module, lengths] of Object.entries(expected.magnitudesAfter))
      for (const [i, value] of lengths.entries()) expect(read(`${module}.lora_magnitude_vector`)[i]).toBeCloseTo(value, 4);
  });

  it("is written as an adapter for the original base", async () => {
    const opened = await open();
    const { store, method } = opened;
    for (const { parameters } of store.groups) for (let i = 0; i < parameters.length; i++) parameters[i]! += 0.01 * Math.sin(i);
    const folder = mkdtempSync(join(tmpdir(), "tunesmith-adapter-"));
    for (const [name, content] of Object.entries(encodeAdapter({ store, method, baseModel: "base" })))
      await openRunFolder(folder).write(name, content);
    const adapter = await readAdapter(openFolder(folder));
    rmSync(folder, { recursive: true });
    const again = await openTinyModel({
      folder: `${reference}${expected.base}`,
      attach: (target) => adapter.method.attach(target, adapter.config),
    });
    adapter.loadInto(again.store, again.method);
    expect(await loss(again)).toBeCloseTo(await loss(opened), 4);
    const [name] = Object.keys(expected.updates);
    const [first, second] = [opened, again].map((each) => mergedParameter({ name: `${name}.weight`, ...each }).data);
    first!.forEach((value, i) => expect(Math.abs(value - second![i]!)).toBeLessThan(1e-5));
  });
});
