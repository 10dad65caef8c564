/**
 * Prefix-tuning: trained keys and values stand in front of every layer's own, seen by all documents; the model is frozen.
 * Li and Liang 2021, https://arxiv.org/abs/2101.00190. As in PEFT (the paper: always an MLP) the prefix is trained directly unless
 * `prefixProjection` puts a two-layer MLP before it, whose last layer is held in pieces, one for each block. Keys of the prefix are
 * not rotated; tokens start at position P; where a layer has a sliding window, the prefix leaves it like earlier tokens do. In an
 * encoder-decoder every layer of the decoder has its own, in front of its self-attention.
 */
import { z } from "zod";
import { CheckpointError, UnsupportedError } from "../base/errors.ts";
import type { KeyValues } from "../models/model.ts";
import type { SegmentBuilder } from "../models/segment-builder.ts";
import type { Value } from "../tensor/graph.ts";
import { add, matmul, reshape, split, tanh, transpose } from "../tensor/ops/index.ts";
import {
  type AddedParameter,
  type AttachedMethod,
  checkVirtualTokens,
  defineMethod,
  type MethodTarget,
  type ParameterData,
} from "./method.ts";
import { embedding, evaluateGraph, linear } from "./p-tuning.ts";
import { promptLearningConfig, promptName } from "./prompt-tuning.ts";

const configSchema = z.strictObject({
  name: z.literal("prefix-tuning"),
  numVirtualTokens: z.int().positive().default(20).describe("Trained positions in front of every layer. 5 to 200 is usual."),
  prefixProjection: z
    .boolean()
    .default(false)
    .describe("Make the prefix with an MLP, which trains more steadily; saved adapters hold its result."),
  encoderHiddenSize: z.int().positive().optional().describe("Width of that MLP. Default: the width of a layer's keys."),
  initWeights: z.enum(["zero"]).optional().describe("zero: the prefix starts at zero instead of normal noise."),
});
type PrefixTuningConfig = z.output<typeof configSchema>;

/** Makes a layer's prefix: keys beside values, [P, 2 * width]. */
interface PrefixEncoder {
  readonly parameters: readonly AddedParameter[];
  build(build: SegmentBuilder): Value;
}

export const prefixTuning = defineMethod({
  name: "prefix-tuning",
  summary: "Trained keys and values in front of every layer: more capacity than virtual tokens at the same speed.",
  paper: "https://arxiv.org/abs/2101.00190",
  configSchema,
  peftType: "PREFIX_TUNING",

  attach(target: MethodTarget, config: PrefixTuningConfig): AttachedMethod {
    const { model } = target;
    const { numVirtualTokens: count, prefixProjection } = config;
    checkVirtualTokens(count, model);
    const heads = model.numKeyValueHeads;
    const width = heads * model.headDim;
    const sizes: Sizes = {
      ...{ count, width, hidden: config.encoderHiddenSize ?? width, prefixes: layerPrefixes(target) },
      pairsForLayer: model.encoder ? 2 : 1,
    };
    const encoder = prefixProjection ? projected(sizes, config) : direct(sizes, config);
    const headsFirst = (x: Value): Value => transpose(reshape(x, [count, heads, model.headDim]), [1, 0, 2]);
    return {
      hooks: {
        past(build): KeyValues {
          const [key, value] = split(encoder.build(build), 1, [width, width]) as [Value, Value];
          return { key: headsFirst(key), value: headsFirst(value) };
        },
      },
      added: encoder.parameters,
      trains: (name) => encoder.parameters.some((parameter) => parameter.name === name),
      virtualTokens: { count, as: "keyValues" },
      adapter: {
        config: (baseModel) => ({
          ...promptLearningConfig({ peftType: "PREFIX_TUNING", baseModel, count, target }),
          // PEFT counts the heads and the width that keys have.
          token_dim: width,
          num_transformer_submodules: sizes.pairsForLayer,
          num_layers: sizes.pairsForLayer * model.numHiddenLayers,
          num_attention_heads: heads,
          encoder_hidden_size: sizes.hidden,
          prefix_projection: prefixProjection,
          init_weights: null,
        }),
        fileName: (name) => name,
        pack: (tensors) => new Map([[promptName, joinLayers(sizes, encoder, tensors)]]),
        unpack: (tensors, { token_dim: tokenDim }) => splitLayers(sizes, { tensors, width: tokenDim ?? width }),
      },
    };
  },

  fromPeft(config): PrefixTuningConfig {
    if (config.task_type === "SEQ_2_SEQ_LM" && config.num_transformer_submodules !== 2)
      throw new UnsupportedError(
        `adapter_config.json: num_transformer_submodules ${config.num_transformer_submodules} for SEQ_2_SEQ_LM; expected 2, without which the keys and values of the tensor belong to no layer of a decoder behind an encoder. Train the prefix again.`,
      );
    return configSchema.parse({ name: "prefix-tuning", numVirtualTokens: config.num_virtual_tokens });
  },
});

interface Sizes {
  /** P. */
  readonly count: number;
  /** Of a layer's keys: heads times their size. */
  readonly width: number;
  readonly hidden: number;
  /** Start of the parameter names of every block. */
  readonly prefixes: readonly string[];
  /**
   * Pairs of keys and values that PEFT takes for a layer, of which it uses the first: 2 in an encoder-decoder, whose pairs it repeats. So layers
   * i and i + pairs / 2 get the same one where a file has one for each layer, as PEFT 0.21 trains them; with two for each, all get their own.
   */
  readonly pairsForLayer: 1 | 2;
}

const layerPrefixes = ({ model }: MethodTarget): string[] =>
  Array.from({ length: model.numHiddenLayers }, (_, layer) => model.blockPrefix(layer));

const zeroed = (parameter: AddedParameter, { initWeights }: PrefixTuningConfig): AddedParameter =>
  initWeights === "zero"
    ? { ...parameter, initialise: () => new Float32Array(parameter.shape.reduce((product, n) => product * n, 1)) }
    : parameter;

const layerName = (prefix: string): string => `${prefix}${promptName}`;

function direct({ count, width, prefixes }: Sizes, config: PrefixTuningConfig): PrefixEncoder {
  const layer = (prefix: string): AddedParameter => zeroed(embedding(layerName(prefix), [count, 2 * width]), config);
  return { parameters: prefixes.map(layer), build: (build) => build.parameter(layer(build.nameOf(""))) };
}

function projected({ count, width, hidden, prefixes }: Sizes, config: PrefixTuningConfig): PrefixEncoder {
  const input = embedding("prompt_encoder.embedding.weight", [count, width]);
  const inner = linear("prompt_encoder.transform.0", width, hidden);
  const outer = (prefix: string) => {
    const { weight, bias, ...layer } = linear(`${prefix}prefix_transform`, hidden, 2 * width);
    return { ...layer, weight: zeroed(weight, config), bias: zeroed(bias, config) };
  };
  return {
    parameters: [input, inner.weight, inner.bias, ...prefixes.map(outer).flatMap(({ weight, bias }) => [weight, bias])],
    build(build) {
      const { weight, bias } = outer(build.nameOf(""));
      const middle = tanh(inner.build(build, build.parameter(input)));
      return add(matmul(middle, build.parameter(weight), { transposeB: true }), build.parameter(bias));
    },
  };
}

/** PEFT's one tensor [P, pairs * 2 * width]: keys and values of the first layer, of the second, and so on. */
function joinLayers(sizes: Sizes, encoder: PrefixEncoder, tensors: ReadonlyMap<string, ParameterData>): ParameterData {
  const { count, width, prefixes, pairsForLayer } = sizes;
  const columns = pairsForLayer * prefixes.length * 2 * width;
  const data = new Float32Array(count * columns);
  prefixes.forEach((prefix, layer) => {
    const rows = evaluateGraph(prefix, encoder.build, tensors).data;
    const start = pairsForLayer * layer * 2 * width;
    for (let p = 0; p < count; p++) data.set(rows.subarray(p * 2 * width, (p + 1) * 2 * width), p * columns + start);
  });
  return { shape: [count, columns], data };
}

/** @param file with the width of a layer's keys that it was made for */
function splitLayers(sizes: Sizes, file: { tensors: ReadonlyMap<string, ParameterData>; width: unknown }): Map<string, ParameterData> {
  const { count, width, prefixes, pairsForLayer } = sizes;
  const { tensors } = file;
  const whole = tensors.get(promptName);
  const fitting = Array.from({ length: pairsForLayer }, (_, i) => (i + 1) * prefixes.length * 2 * width);
  const columns = fitting.find((size) => whole?.shape.join() === [count, size].join());
  if (!whole || columns === undefined || file.width !== width)
    throw new CheckpointError(
      `the adapter does not fit this base model: ${promptName} is ${whole ? `[${whole.shape.join(", ")}]` : "missing"}, this base needs [${count}, ${fitting.join(" or ")}] (virtual tokens, layers * 2 * key width) with keys of width ${width} (here: ${String(file.width)}). Use the base that adapter_config.json names in base_model_name_or_path.`,
    );
  return new Map(
    prefixes.map((prefix, layer) => {
      const start = (pairsForLayer * layer * 2 * width) % columns;
      const data = new Float32Array(count * 2 * width);
      for (let p = 0; p < count; p++) data.set(whole.data.subarray(p * columns + start, p * columns + start + 2 * width), p * 2 * width);
      return [layerName(prefix), { shape: [count, 2 * width], data }];
    }),
  );
}
