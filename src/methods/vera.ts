/**
 * VeRA: y = W x + b * (B (d * (A x))) with A and B random, frozen and shared by all layers; only the vectors d and b are
 * trained. Kopiczko et al. 2023, https://arxiv.org/abs/2310.11454. b starts at zero, so training starts at the base model.
 * As in PEFT, layers of several sizes take the first rows of B and the first columns of A that they need. A and B are
 * written into the adapter (PEFT's save_projection), since no two random generators agree.
 */
import { z } from "zod";
import { UnsupportedError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { LinearModule } from "../models/segments.ts";
import { add, matmul, mul, slice } from "../tensor/ops/index.ts";
import { selectLinears } from "./match-modules.ts";
import { type AddedParameter, type AttachedMethod, defineMethod, type MethodTarget, type ParameterData } from "./method.ts";

const configSchema = z.strictObject({
  name: z.literal("vera"),
  rank: z.int().positive().default(256).describe("Rank r of the shared projections; costs r numbers a layer, so it may be large."),
  targetModules: z
    .union([z.literal("all-linear"), z.string(), z.array(z.string()).min(1)])
    .default("all-linear")
    .describe('Layers to adapt: "all-linear", a list of module names, or one regular expression.'),
  veraDropout: z.number().min(0).lt(1).default(0).describe("Dropout on the input of A, 0 to below 1."),
  dInitial: z.number().default(0.1).describe("Start of every d."),
});
export type VeraConfig = z.output<typeof configSchema>;

interface VeraLinear extends LinearModule {
  /** [r]. */
  readonly d: AddedParameter;
  /** [out]. */
  readonly b: AddedParameter;
}

export const vera = defineMethod({
  name: "vera",
  summary: "VeRA: two trained vectors a layer around random projections that all layers share. A tenth of LoRA's parameters and less.",
  paper: "https://arxiv.org/abs/2310.11454",
  configSchema,
  peftType: "VERA",

  attach(target: MethodTarget, config: VeraConfig): AttachedMethod {
    const { rank } = config;
    const chosen = new Set(selectLinears(target.linears, config.targetModules));
    const adapted = new Map<string, VeraLinear>();
    for (const linear of target.linears) if (chosen.has(linear.module)) adapted.set(linear.module, withVectors(linear, config));
    const all = [...adapted.values()];
    const widest = Math.max(...all.map(({ inFeatures }) => inFeatures));
    const tallest = Math.max(...all.map(({ outFeatures }) => outFeatures));
    const projectionA = projection("vera_A", [rank, widest]);
    const projectionB = projection("vera_B", [tallest, rank]);
    const linearOf = (name: string): VeraLinear | undefined =>
      name.endsWith(".weight") ? adapted.get(name.slice(0, -".weight".length)) : undefined;

    return {
      hooks: {
        linear({ module, input, output }, build) {
          const linear = adapted.get(module);
          if (!linear) return output;
          const A = slice(build.parameter(projectionA), 1, { start: 0, size: linear.inFeatures });
          const B = slice(build.parameter(projectionB), 0, { start: 0, size: linear.outFeatures });
          const inner = build.graph.keep(matmul(build.dropout(input, config.veraDropout), A, { transposeB: true }));
          // Kept for the gradient of b: to make it again would be a third product as large as the other two.
          const spread = build.graph.keep(matmul(mul(inner, build.parameter(linear.d)), B, { transposeB: true }));
          return add(output, mul(spread, build.parameter(linear.b)));
        },
      },
      added: [projectionA, projectionB, ...all.flatMap(({ d, b }) => [d, b])],
      trains: (name) => /\.vera_lambda_[db]$/.test(name),
      adapter: {
        config: (baseModel) => ({
          peft_type: "VERA",
          task_type: "CAUSAL_LM",
          base_model_name_or_path: baseModel,
          inference_mode: true,
          r: rank,
          target_modules:
            config.targetModules === "all-linear"
              ? [...new Set(all.map(({ module }) => module.slice(module.lastIndexOf(".") + 1)))]
              : config.targetModules,
          projection_prng_key: 0,
          save_projection: true,
          vera_dropout: config.veraDropout,
          d_initial: config.dInitial,
          fan_in_fan_out: all.some(({ layout }) => layout === "in-out"),
          bias: "none",
          modules_to_save: null,
        }),
        fileName: (name) => (isProjection(name) ? `base_model.${name}` : `base_model.model.${name}`),
        holds: isProjection,
        merge(name, base, read) {
          const linear = linearOf(name);
          return linear && addUpdate(base, { linear, rank, read, sign: 1 });
        },
        unmerge(name, merged, read) {
          const linear = linearOf(name);
          return linear && addUpdate(merged, { linear, rank, read, sign: -1 });
        },
      },
    };
  },

  fromPeft(config): VeraConfig {
    if (config.save_projection === false)
      throw new UnsupportedError(
        "adapter_config.json: save_projection is false, so the adapter lacks vera_A and vera_B, which only torch's generator can make again. Save it with save_projection.",
      );
    for (const key of ["modules_to_save", "layers_to_transform"])
      if (config[key]) throw new UnsupportedError(`adapter_config.json: ${key} ${JSON.stringify(config[key])} is not supported for VERA.`);
    if (config.bias !== undefined && config.bias !== "none")
      throw new UnsupportedError(`adapter_config.json: bias "${String(config.bias)}" is not supported for VERA; expected "none".`);
    const { r: rank, target_modules: targetModules, vera_dropout: veraDropout, d_initial: dInitial } = config;
    return configSchema.parse({ name: "vera", rank, targetModules, veraDropout, dInitial });
  },
});

const isProjection = (name: string): boolean => name === "vera_A" || name === "vera_B";

/** Kaiming's uniform bound, as in PEFT: +-sqrt(6 / columns). */
function projection(name: string, shape: [number, number]): AddedParameter {
  const bound = Math.sqrt(6 / shape[1]);
  const initialise = (random: Random) => Float32Array.from({ length: shape[0] * shape[1] }, () => (2 * random.next() - 1) * bound);
  return { name, shape, kind: "adapter", initialise };
}

function withVectors(linear: LinearModule, { rank, dInitial }: VeraConfig): VeraLinear {
  const { module, outFeatures } = linear;
  const vector = (name: string, length: number, value: number): AddedParameter => ({
    ...{ name: `${module}.${name}`, shape: [length], kind: "adapter", initialise: () => new Float32Array(length).fill(value) },
  });
  return { ...linear, d: vector("vera_lambda_d", rank, dInitial), b: vector("vera_lambda_b", outFeatures, 0) };
}

interface Update {
  readonly linear: VeraLinear;
  readonly rank: number;
  read(name: string): ParameterData;
  readonly sign: 1 | -1;
}

/** W +- diag(b) B diag(d) A, in the layout of W. */
function addUpdate(base: ParameterData, { linear, rank, read, sign }: Update): ParameterData {
  const { inFeatures, outFeatures, layout } = linear;
  const [A, B, d, b] = [read("vera_A"), read("vera_B"), read(linear.d.name), read(linear.b.name)];
  const width = A.shape[1]!;
  const merged = new Float32Array(base.data.length);
  const row = new Float64Array(inFeatures);
  for (let o = 0; o < outFeatures; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = sign * b.data[o]! * B.data[o * rank + r]! * d.data[r]!;
      for (let i = 0; i < inFeatures; i++) row[i]! += factor * A.data[r * width + i]!;
    }
    for (let i = 0; i < inFeatures; i++) {
      const at = layout === "out-in" ? o * inFeatures + i : i * outFeatures + o;
      merged[at] = base.data[at]! + row[i]!;
    }
  }
  return { shape: base.shape, data: merged };
}
