/** Adapters on quantised bases: the same numbers as on the float32 weights that the codes stand for; the copy on disk; what is refused. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { whyNoInt8 } from "../../src/backends/trials.ts";
import { openModel, untouched } from "../../src/execution/loaded-model.ts";
import { checkNotQuantised, encodeAdapter, mergedParameter, readAdapter } from "../../src/execution/weights/adapter-files.ts";
import { readParameter } from "../../src/execution/weights/parameter-store.ts";
import { checkFreezesBase, type QuantizationConfig } from "../../src/execution/weights/quantised-base.ts";
import { mergedCheckpointFiles } from "../../src/export/merged-checkpoint.ts";
import { createDecoder } from "../../src/generation/decoder.ts";
import type { AttachedMethod, Method, MethodTarget } from "../../src/methods/method.ts";
import { methods } from "../../src/methods/registry.ts";
import { describeModel } from "../../src/models/segments.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { createQuantisedCache } from "../../src/platform/node/quantised-cache.ts";
import { openRunFolder } from "../../src/platform/node/run-folder.ts";
import type { Graph } from "../../src/tensor/graph.ts";
import { backend, batchOf, openTinyModel, reference } from "../conformance/tiny-model.ts";
import { cosine } from "../cosine.ts";

const temporary = mkdtempSync(join(tmpdir(), "tunesmith-quantised-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

const nf4 = { format: "nf4", doubleQuantization: true, blockSize: 64 } as const;
const int8 = { format: "int8" } as const;
const rounded = { ...nf4, embeddings: "bfloat16" } as const;
const tables = { ...int8, embeddings: "int8" } as const;
const batch = batchOf([
  [5, 9, 2, 14, 7, 3, 21, 8],
  [1, 4, 4, 19, 30, 2, 11, 6],
]);

function attach(name: string, options: object = {}): (target: MethodTarget) => AttachedMethod {
  const method = (methods as readonly Method[]).find((candidate) => candidate.name === name)!;
  return (target) => method.attach(target, method.configSchema.parse({ name, ...options }));
}

/** A quantised model, and the same with the numbers that its codes stand for in float32. */
async function openBoth(folder: string, options: { quantization: QuantizationConfig; attach: ReturnType<typeof attach> }) {
  const quantised = await openTinyModel({ folder, ...options });
  const decoded = await openTinyModel({ folder, attach: options.attach });
  for (const [name, stored] of quantised.store.parameters)
    (decoded.store.parameters.get(name)!.tensor.data as Float32Array).set(readParameter(stored).data);
  return { quantised, decoded };
}

describe.each([
  ["llama", nf4],
  ["llama", rounded],
  ["llama", int8],
  ["llama", { ...nf4, embeddings: "int8" }],
  ["gpt2", nf4],
  ["gpt2", int8],
  ["gpt2", tables],
] as const)("%s in %o", (family, quantization) => {
  it.each(["lora", "ia3", "vera", "prefix-tuning", "bottleneck"])("%s has the loss and gradients of the decoded weights", async (name) => {
    const { quantised, decoded } = await openBoth(`${reference}families/${family}`, { quantization, attach: attach(name) });
    const results = [];
    for (const { engine } of [quantised, decoded]) results.push(await engine.accumulate(batch, { gradientScale: 1, seed: 1 }));
    expect(results[0]!.lossSum).toBeCloseTo(results[1]!.lossSum, 4);
    for (const [group, { gradients }] of quantised.store.groups.entries()) {
      const expected = decoded.store.groups[group]!.gradients;
      const largest = Math.max(...expected.map(Math.abs));
      gradients.forEach((gradient, i) => expect(Math.abs(gradient - expected[i]!)).toBeLessThan(1e-4 * largest));
    }
  });

  const embeddings = "embeddings" in quantization ? quantization.embeddings : "float32";

  it("holds linear layers as codes and nothing else", async () => {
    const { model, store } = await openTinyModel({ folder: `${reference}families/${family}`, quantization, attach: () => untouched });
    const linears = new Set(describeModel(model).linears.map(({ module }) => `${module}.weight`));
    for (const [name, { spec, storage }] of store.parameters)
      expect([name, storage.isQuantised]).toEqual([name, linears.has(name) || (spec.kind === "embedding" && embeddings === "int8")]);
  });

  it("holds embeddings and head as it is told", async () => {
    const { store } = await openTinyModel({ folder: `${reference}families/${family}`, quantization, attach: () => untouched });
    for (const { spec, tensor } of store.parameters.values())
      if (spec.kind === "embedding") expect([spec.name, tensor.dtype]).toEqual([spec.name, embeddings]);
  });
});

describe.each([
  ["llama", int8],
  ["llama", tables],
  ["gpt2", tables],
  ["qwen2", int8],
  ["gemma2", tables],
  ["mixtral", int8],
] as const)("%s in %o, computed in 8-bit integers", (family, quantization) => {
  const folder = `${reference}families/${family}`;
  const open = (name: string, compute: "float32" | "int8") =>
    openTinyModel({ folder, attach: attach(name), quantization: { ...quantization, compute } });

  it.each(["lora", "ia3", "bottleneck"])("%s has nearly the loss and gradients of the decoded weights", async (name) => {
    const [rounded, decoded] = [await open(name, "int8"), await open(name, "float32")];
    const losses = [];
    for (const { engine } of [rounded, decoded]) losses.push((await engine.accumulate(batch, { gradientScale: 1, seed: 1 })).lossSum);
    expect(Math.abs(losses[0]! / losses[1]! - 1)).toBeLessThan(5e-3);
    expect(losses[0]).not.toBe(losses[1]);
    for (const [group, { gradients }] of rounded.store.groups.entries())
      expect(cosine(gradients, decoded.store.groups[group]!.gradients)).toBeGreaterThan(0.999);
  });

  it("decodes no weight", async () => {
    const graphs: Graph[] = [];
    const recording: Backend = {
      ...backend,
      compile(graph, options) {
        graphs.push(graph);
        return backend.compile(graph, options);
      },
    };
    const { engine } = await openTinyModel({
      folder,
      on: recording,
      attach: attach("lora"),
      quantization: { ...quantization, compute: "int8" },
    });
    await engine.accumulate(batch, { gradientScale: 1, seed: 1 });
    const used = graphs.flatMap((graph) => graph.nodes).filter(({ inputs }) => inputs[0]?.dtype === "int8" || inputs[1]?.dtype === "int8");
    const names = [...new Set(used.map(({ op }) => op.name))].sort();
    const ofTables = "embeddings" in quantization ? ["cast", "gather", "projectedLogSumExp"] : [];
    expect(names).toEqual([...ofTables, "matmulInt8"].sort());
  });
});

it.each([int8, tables])("writes with %o alike whether codes are fed or laid out for the products", async (quantization) => {
  const logits = async (weights: "shared" | "packed", compute: "float32" | "int8") => {
    const opened = await openTinyModel({
      ...{ folder: `${reference}families/llama`, attach: () => untouched },
      quantization: { ...quantization, compute },
    });
    const decoder = await createDecoder({ ...opened, backend, weights });
    await decoder.prepare([{}]);
    return (await decoder.step([[5, 9, 2, 14]]))[0]!;
  };
  const [fed, packed, decoded] = [await logits("shared", "int8"), await logits("packed", "int8"), await logits("packed", "float32")];
  packed.forEach((logit, i) => expect(Math.abs(logit - fed[i]!)).toBeLessThan(1e-5));
  expect(cosine(packed, decoded)).toBeGreaterThan(0.999);
  expect([...packed]).not.toEqual([...decoded]);
});

describe.each([int8, tables, { ...nf4, embeddings: "int8" }] as const)("writing with %o", (quantization) => {
  const open = () => openTinyModel({ folder: `${reference}families/llama`, attach: () => untouched, quantization });
  const logits = async (on: Backend, weights: "shared" | "packed") => {
    const decoder = await createDecoder({ ...(await open()), backend: on, weights });
    await decoder.prepare([{}, {}]);
    await decoder.step([[5, 9, 2, 14], [3]]);
    return (await decoder.step([[7], [8]])).flatMap((row) => [...row]);
  };
  /** What this test takes for a device that multiplies no integers: all it does not know of the CPU is the name. */
  const decoding: Backend = { ...backend, name: "cuda" };

  it.each(["shared", "packed"] as const)("multiplies %s codes, nearly as exactly as it would decoded weights", async (weights) => {
    const [found, decoded] = [await logits(backend, weights), await logits(decoding, weights)];
    const largest = Math.max(...decoded.map(Math.abs));
    expect(Math.max(...found.map((logit, i) => Math.abs(logit - decoded[i]!)))).toBeLessThan(2e-4 * largest);
    expect(found).not.toEqual(decoded);
  });

  it("decodes none of the 8-bit codes", async () => {
    const graphs: Graph[] = [];
    const compile: Backend["compile"] = (graph, options) => {
      graphs.push(graph);
      return backend.compile(graph, options);
    };
    await createDecoder({ ...(await open()), backend: { ...backend, compile }, weights: "packed" });
    const used = graphs.flatMap((graph) => graph.nodes).filter(({ inputs }) => inputs.some(({ dtype }) => dtype === "int8"));
    const names = new Set(used.map(({ op }) => op.name));
    expect([...names].sort()).toEqual(quantization === int8 ? ["matmulInt8"] : ["cast", "gather", "matmulInt8"]);
  });
});

describe("the copy on disk", () => {
  const open = (home: string, notices: string[]) =>
    openTinyModel({
      ...{ folder: `${reference}families/llama`, quantization: nf4, attach: attach("lora") },
      cache: createQuantisedCache({ environment: { HF_HOME: join(temporary, home) }, onNotice: (message) => notices.push(message) }),
    });
  const codes = ({ store }: Awaited<ReturnType<typeof open>>) =>
    [...store.parameters.values()].filter(({ storage }) => storage.isQuantised).map(({ tensor, companions }) => ({ tensor, companions }));

  it("is made once and read afterwards", async () => {
    const notices: string[] = [];
    const first = await open("kept", notices);
    expect(notices).toEqual([expect.stringMatching(/^quantised 14 weights of .*llama in/)]);
    const second = await open("kept", notices);
    expect(notices).toHaveLength(1);
    expect(codes(second)).toEqual(codes(first));
    const inMemory = await openTinyModel({ folder: `${reference}families/llama`, quantization: nf4, attach: attach("lora") });
    expect(codes(inMemory)).toEqual(codes(first));
    expect(readdirSync(join(temporary, "kept/tunesmith-quantized"))).toEqual([expect.stringMatching(/^nf4-[0-9a-f]{40}$/)]);
  });

  it("is made again where it is damaged", async () => {
    const notices: string[] = [];
    const first = await open("damaged", notices);
    const shelf = join(temporary, "damaged/tunesmith-quantized");
    const file = join(shelf, readdirSync(shelf)[0]!, "model.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    expect(codes(await open("damaged", notices))).toEqual(codes(first));
    expect(notices.slice(1)).toEqual([
      expect.stringContaining("is damaged and is made again"),
      expect.stringContaining("quantised 14 weights"),
    ]);
    await open("damaged", notices);
    expect(notices).toHaveLength(3);
  });
});

describe.each(["pissa", "olora", "loftq"] as const)("a start by %s", (initLoraWeights) => {
  const folder = `${reference}families/llama`;
  const options = { rank: 4, initLoraWeights, loftqIter: 3 };
  const open = (attached: ReturnType<typeof attach>) => openTinyModel({ folder, quantization: nf4, attach: attached });
  const loss = async ({ engine }: Awaited<ReturnType<typeof open>>) => (await engine.evaluate(batch)).lossSum;

  // olora takes columns that carry no more than others, so it brings nothing nearer.
  if (initLoraWeights !== "olora")
    it("begins nearer to the base than its codes are", async () => {
      const [started, plain] = [await open(attach("lora", options)), await open(attach("lora", { rank: 4 }))];
      const { store } = await openTinyModel({ folder, attach: () => untouched });
      const distance = ({ store: of, method }: typeof started) => {
        let sum = 0;
        for (const [name, { storage }] of of.parameters) {
          if (!storage.isQuantised) continue;
          const weight = readParameter(store.parameters.get(name)!).data;
          mergedParameter({ name, store: of, method }).data.forEach((value, i) => {
            sum += (value - weight[i]!) ** 2;
          });
        }
        return Math.sqrt(sum);
      };
      expect(distance(started)).toBeLessThan(0.95 * distance(plain));
    });

  it("is made again when its adapter is opened", async () => {
    const opened = await open(attach("lora", options));
    for (const { parameters } of opened.store.groups) for (let i = 0; i < parameters.length; i++) parameters[i]! += 0.01 * Math.sin(i);
    const path = join(temporary, initLoraWeights);
    for (const [name, content] of Object.entries(encodeAdapter({ ...opened, baseModel: "base" })))
      await openRunFolder(path).write(name, content);
    const adapter = await readAdapter(openFolder(path));
    const again = await open((target) => adapter.method.attach(target, adapter.config));
    adapter.loadInto(again.store, again.method);
    expect(await loss(again)).toBeCloseTo(await loss(opened), 4);
  });
});

describe("what is refused", () => {
  it.each([
    ["full", {}, /trains every weight; codes cannot be trained/],
    ["last-layers", { layers: 1 }, /changes some of the model's own weights/],
    ["freeze", { trainable: ["*norm*"] }, /changes some of the model's own weights/],
  ])("%s", async (name, options, message) => {
    const { model } = await openTinyModel({ folder: `${reference}families/llama`, attach: () => untouched });
    const { parameters, linears } = describeModel(model);
    const attached = attach(name, options)({ model, parameters, linears });
    expect(() => checkFreezesBase(attached, { method: { name }, linears })).toThrow(message);
  });

  it("8-bit integers on a processor whose sums of them overflow", async () => {
    const overflowing: Backend = {
      ...backend,
      async compile() {
        return { run: async () => ({ y: { dtype: "float32", dims: [1, 1], data: Float32Array.of(4160) } }), dispose: async () => {} };
      },
    };
    const folder = openFolder(new URL("../../examples/base-model/checkpoint", import.meta.url).pathname);
    await expect(openModel({ folder, backend: overflowing, quantization: { ...int8, compute: "int8" } })).rejects.toThrow(
      /^quantization.compute: int8 needs a processor .* it computed 64 x 1 x 127 = 4160\. Leave quantization.compute out/,
    );
    expect(await whyNoInt8(backend)).toBeUndefined();
  });

  it("folding an adapter into codes, unless the rounded weights are asked for", async () => {
    const folder = `${reference}families/llama`;
    const opened = await openTinyModel({ folder, quantization: nf4, attach: attach("lora", { rank: 4 }) });
    expect(() => checkNotQuantised(opened.store)).toThrow(/q_proj.weight is quantised.*--dequantize/);
    const loaded = { ...opened, fresh: [] } as unknown as Parameters<typeof mergedCheckpointFiles>[0];
    await expect(mergedCheckpointFiles(loaded, openFolder(folder))).rejects.toThrow("--dequantize");
    expect(Object.keys(await mergedCheckpointFiles(loaded, openFolder(folder), { dequantize: true }))).toContain("model.safetensors");
    const name = "model.layers.0.self_attn.q_proj.weight";
    const rounded = readParameter(opened.store.parameters.get(name)!).data;
    expect(mergedParameter({ name, ...opened }).data).toEqual(rounded); // B is zero
  });
});
