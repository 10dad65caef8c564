/**
 * P-tuning: virtual tokens whose embeddings come out of a small trained network. Liu et al. 2021, https://arxiv.org/abs/2103.10385.
 * The network is PEFT's: an MLP of three layers, or a bidirectional LSTM with an MLP behind it (the paper: LSTM). A saved adapter holds
 * what the network computed, as PEFT writes it; reading one gives an encoder of kind "none", whose prompt is trained directly.
 */
import { z } from "zod";
import type { Random } from "../base/random.ts";
import { SegmentBuilder } from "../models/segment-builder.ts";
import { float32 } from "../models/storage.ts";
import type { Value } from "../tensor/graph.ts";
import { interpret } from "../tensor/interpret.ts";
import { add, concat, matmul, mul, relu, sigmoid, split, tanh, zeros } from "../tensor/ops/index.ts";
import {
  type AddedParameter,
  type AttachedMethod,
  checkVirtualTokens,
  defineMethod,
  type MethodTarget,
  type ParameterData,
} from "./method.ts";
import { firstRows, promptHooks, promptLearningConfig, promptName } from "./prompt-tuning.ts";

const configSchema = z.strictObject({
  name: z.literal("p-tuning"),
  numVirtualTokens: z.int().positive().default(20).describe("Virtual tokens in front of every document. 8 to 100 is usual."),
  encoderReparameterizationType: z
    .enum(["MLP", "LSTM", "none"])
    .default("MLP")
    .describe("The network that makes their embeddings; none trains the embeddings themselves, as after loading an adapter."),
  encoderHiddenSize: z.int().positive().optional().describe("Width of the network. Default: the model's hidden size."),
  encoderNumLayers: z.int().positive().default(2).describe("Layers of the LSTM; the MLP always has three."),
  encoderDropout: z.number().min(0).lt(1).default(0).describe("Dropout between the layers of the LSTM."),
});
export type PTuningConfig = z.output<typeof configSchema>;

/** A network from nothing to the prompt [count, C], with its parameters. */
interface Encoder {
  readonly parameters: readonly AddedParameter[];
  build(build: SegmentBuilder): Value;
}

export const pTuning = defineMethod({
  name: "p-tuning",
  summary: "Virtual tokens made by a small trained network, which learns faster than bare prompt tuning.",
  paper: "https://arxiv.org/abs/2103.10385",
  configSchema,
  peftType: "P_TUNING",

  attach(target: MethodTarget, config: PTuningConfig): AttachedMethod {
    checkVirtualTokens(config.numVirtualTokens, target.model);
    const sizes = {
      count: config.numVirtualTokens,
      width: target.model.hiddenSize,
      hidden: config.encoderHiddenSize ?? target.model.hiddenSize,
    };
    const encoder = encoders[config.encoderReparameterizationType](sizes, config);
    const names = new Set(encoder.parameters.map(({ name }) => name));
    return {
      hooks: promptHooks(target, encoder.build),
      added: encoder.parameters,
      trains: (name) => names.has(name),
      virtualTokens: { count: sizes.count, as: "embeddings" },
      adapter: {
        config: (baseModel) => ({
          ...promptLearningConfig({ peftType: "P_TUNING", baseModel, count: sizes.count, target }),
          encoder_reparameterization_type: config.encoderReparameterizationType === "LSTM" ? "LSTM" : "MLP",
          encoder_hidden_size: sizes.hidden,
          encoder_num_layers: config.encoderNumLayers,
          encoder_dropout: config.encoderDropout,
        }),
        fileName: (name) => name,
        unpack: (tensors) => firstRows(tensors, sizes.count),
        pack: (tensors) => new Map([[promptName, evaluateGraph("", encoder.build, tensors)]]),
      },
    };
  },

  fromPeft: (config): PTuningConfig =>
    configSchema.parse({
      name: "p-tuning",
      numVirtualTokens: config.num_virtual_tokens,
      encoderReparameterizationType: "none",
      encoderHiddenSize: config.encoder_hidden_size,
    }),
});

interface Sizes {
  readonly count: number;
  /** C. */
  readonly width: number;
  readonly hidden: number;
}

const encoders: Readonly<Record<PTuningConfig["encoderReparameterizationType"], (sizes: Sizes, config: PTuningConfig) => Encoder>> = {
  none({ count, width }) {
    const prompt = embedding(promptName, [count, width]);
    return { parameters: [prompt], build: (build) => build.parameter(prompt) };
  },

  MLP({ count, width, hidden }) {
    const input = embedding("prompt_encoder.embedding.weight", [count, width]);
    const layers = [
      linear("prompt_encoder.mlp_head.0", width, hidden),
      linear("prompt_encoder.mlp_head.2", hidden, hidden),
      linear("prompt_encoder.mlp_head.4", hidden, width),
    ] as const;
    return {
      parameters: [input, ...layers.flatMap(({ parameters }) => parameters)],
      build: (build) => layers[2].build(build, relu(layers[1].build(build, relu(layers[0].build(build, build.parameter(input)))))),
    };
  },

  LSTM({ count, width, hidden }, { encoderNumLayers, encoderDropout }) {
    const input = embedding("prompt_encoder.embedding.weight", [count, width]);
    const levels = Array.from({ length: encoderNumLayers }, (_, level) =>
      ["", "_reverse"].map((direction) => lstm(`l${level}${direction}`, level === 0 ? width : 2 * hidden, hidden)),
    );
    const head = [
      linear("prompt_encoder.mlp_head.0", 2 * hidden, 2 * hidden),
      linear("prompt_encoder.mlp_head.2", 2 * hidden, width),
    ] as const;
    return {
      parameters: [input, ...levels.flat().flatMap(({ parameters }) => parameters), ...head.flatMap(({ parameters }) => parameters)],
      build(build) {
        let x = build.parameter(input);
        for (const [level, [forward, backward]] of levels.entries()) {
          if (level > 0) x = build.dropout(x, encoderDropout);
          x = concat([forward!.build(build, x), backward!.build(build, x)], 1);
        }
        return head[1].build(build, relu(head[0].build(build, x)));
      },
    };
  },
};

const uniform = (random: Random, length: number, bound: number): Float32Array =>
  Float32Array.from({ length }, () => (2 * random.next() - 1) * bound);

/** Standard normal, as torch's Embedding starts. */
export const embedding = (name: string, shape: readonly [number, number]): AddedParameter => ({
  ...{ name, shape, kind: "embedding" },
  initialise: (random) => Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal()),
});

interface Layer {
  readonly parameters: readonly AddedParameter[];
  build(build: SegmentBuilder, x: Value): Value;
}

export interface LinearLayer extends Layer {
  readonly weight: AddedParameter;
  readonly bias: AddedParameter;
}

/** x W^T + b, started as torch's Linear does: uniform in +-1/sqrt(inputs). */
export function linear(name: string, inputs: number, outputs: number): LinearLayer {
  const bound = 1 / Math.sqrt(inputs);
  const weight: AddedParameter = {
    ...{ name: `${name}.weight`, shape: [outputs, inputs], kind: "adapter" },
    initialise: (random) => uniform(random, outputs * inputs, bound),
  };
  const bias: AddedParameter = {
    ...{ name: `${name}.bias`, shape: [outputs], kind: "bias" },
    initialise: (random) => uniform(random, outputs, bound),
  };
  return {
    ...{ weight, bias, parameters: [weight, bias] },
    build: (build, x) => add(matmul(x, build.parameter(weight), { transposeB: true }), build.parameter(bias)),
  };
}

/** One direction of one LSTM layer over x [T, inputs] -> [T, hidden]; gates in torch's order: input, forget, cell, output. */
function lstm(suffix: string, inputs: number, hidden: number): Layer {
  const parameter = (name: string, shape: readonly number[], kind: "adapter" | "bias"): AddedParameter => ({
    ...{ name: `prompt_encoder.lstm_head.${name}_${suffix}`, shape, kind },
    initialise: (random) =>
      uniform(
        random,
        shape.reduce((product, n) => product * n, 1),
        1 / Math.sqrt(hidden),
      ),
  });
  const inputWeight = parameter("weight_ih", [4 * hidden, inputs], "adapter");
  const stateWeight = parameter("weight_hh", [4 * hidden, hidden], "adapter");
  const inputBias = parameter("bias_ih", [4 * hidden], "bias");
  const stateBias = parameter("bias_hh", [4 * hidden], "bias");
  const isReverse = suffix.endsWith("_reverse");
  return {
    parameters: [inputWeight, stateWeight, inputBias, stateBias],
    build(build, x) {
      const bias = add(build.parameter(inputBias), build.parameter(stateBias));
      const fromInput = add(matmul(x, build.parameter(inputWeight), { transposeB: true }), bias); // [T, 4 hidden]
      const steps = [
        ...split(
          fromInput,
          0,
          Array.from({ length: Number(x.shape[0]) }, () => 1),
        ),
      ];
      if (isReverse) steps.reverse();
      let state = zeros(build.graph, [1, hidden]);
      let cell = zeros(build.graph, [1, hidden]);
      const outputs = steps.map((step) => {
        const gates = add(step, matmul(state, build.parameter(stateWeight), { transposeB: true }));
        const [i, f, g, o] = split(gates, 1, [hidden, hidden, hidden, hidden]) as [Value, Value, Value, Value];
        cell = add(mul(sigmoid(f), cell), mul(sigmoid(i), tanh(g)));
        state = mul(sigmoid(o), tanh(cell));
        return state;
      });
      return concat(isReverse ? outputs.reverse() : outputs, 0);
    },
  };
}

/** What a network computes from given parameters, in float64, rounded once. @param prefix of the segment it stands in */
export function evaluateGraph(
  prefix: string,
  make: (build: SegmentBuilder) => Value,
  tensors: ReadonlyMap<string, ParameterData>,
): ParameterData {
  const build = new SegmentBuilder({ prefix, hooks: [], isTraining: false, storageOf: () => float32 });
  build.graph.output("prompt", make(build));
  const inputs = Object.fromEntries(
    [...build.parameters].map(([local, { name }]) => {
      const { shape, data } = tensors.get(name)!;
      return [local, { shape, data: Float64Array.from(data) }];
    }),
  );
  const { shape, data } = interpret(build.graph, inputs).prompt!;
  return { shape, data: Float32Array.from(data) };
}
