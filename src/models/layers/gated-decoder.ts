/**
 * The decoder that Llama, Mistral, Qwen2, Qwen3 and SmolLM share: RMS norm before attention and before a gated MLP,
 * rotary positions, grouped key-value heads. Families say where they differ; tensor names are the checkpoint's.
 */
import { CheckpointError } from "../../base/errors.ts";
import type { Value } from "../../tensor/graph.ts";
import { add, mul, reshape, rmsNorm, rotaryEmbedding, silu } from "../../tensor/ops/index.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { BlockInput, BlockOutput, HeadOutput, MaskKind, Model } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { attention } from "./attention.ts";
import { decoderLabelHeads } from "./label-heads.ts";
import { computeRotaryTables, type RotaryConfig, rotaryScaling } from "./rotary.ts";

export interface GatedDecoderConfig {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly maxPositionEmbeddings: number;
  readonly tieWordEmbeddings: boolean;
  readonly rotary: RotaryConfig;
  /** Bias on query, key and value. */
  readonly queryKeyValueBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMS norm of every query and key head (Qwen3). */
  readonly queryKeyNorm: boolean;
  /** Sliding window by layer; undefined sees everything. */
  slidingWindow(layer: number): number | undefined;
  /** False in layers without positions (SmolLM3). */
  usesRotary(layer: number): boolean;
}

/** The part of config.json that all these families write alike. */
export function readGatedDecoderConfig(config: ConfigReader, modelType: string): GatedDecoderConfig {
  const hiddenSize = config.positiveInteger("hidden_size");
  const numAttentionHeads = config.positiveInteger("num_attention_heads");
  const numKeyValueHeads = config.positiveInteger("num_key_value_heads", numAttentionHeads);
  const headDim = config.positiveInteger("head_dim", hiddenSize / numAttentionHeads);
  const maxPositionEmbeddings = config.positiveInteger("max_position_embeddings", 2048);
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw new CheckpointError(
      `config.json: num_attention_heads ${numAttentionHeads} is not a multiple of num_key_value_heads ${numKeyValueHeads}.`,
    );
  }
  config.requireOneOf("hidden_act", ["silu", "swish"], "silu");
  // transformers 5 writes rope_parameters with the theta inside; earlier versions rope_theta beside rope_scaling.
  const ropeScaling = config.object("rope_parameters") ?? config.object("rope_scaling");
  const ropeTheta = typeof ropeScaling?.rope_theta === "number" ? ropeScaling.rope_theta : config.number("rope_theta", 10000);
  const rotary: RotaryConfig = { ropeTheta, headDim, maxPositionEmbeddings, ropeScaling };
  rotaryScaling(rotary);
  return {
    modelType,
    vocabSize: config.positiveInteger("vocab_size"),
    hiddenSize,
    intermediateSize: config.positiveInteger("intermediate_size"),
    numHiddenLayers: config.positiveInteger("num_hidden_layers"),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    rmsNormEps: config.number("rms_norm_eps", 1e-6),
    maxPositionEmbeddings,
    tieWordEmbeddings: config.boolean("tie_word_embeddings", false),
    rotary,
    queryKeyValueBias: config.boolean("attention_bias", false),
    outputBias: config.boolean("attention_bias", false),
    mlpBias: config.boolean("mlp_bias", false),
    queryKeyNorm: false,
    slidingWindow: () => undefined,
    usesRotary: () => true,
  };
}

export function createGatedDecoder(config: GatedDecoderConfig): Model {
  const { hiddenSize: C, vocabSize: V, headDim: D, numAttentionHeads, numKeyValueHeads, rmsNormEps } = config;

  const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
    rmsNorm(x, build.parameter({ name: `${name}.weight`, shape: [Number(x.shape.at(-1))], kind: "norm" }), { epsilon: rmsNormEps });

  /** RMS norm over the channels of each head of x [B, T, heads * D]. */
  const headNorm = (build: SegmentBuilder, name: string, x: Value, heads: number): Value => {
    const [B, T] = [x.shape[0]!, x.shape[1]!];
    return reshape(norm(build, name, reshape(x, [B, T, heads, D])), [B, T, heads * D]);
  };

  function selfAttention(build: SegmentBuilder, x: Value, input: BlockInput): { output: Value; present: BlockOutput["present"] } {
    const bias = config.queryKeyValueBias;
    let query = build.linear({ name: "self_attn.q_proj", input: x, outFeatures: numAttentionHeads * D, bias });
    let key = build.linear({ name: "self_attn.k_proj", input: x, outFeatures: numKeyValueHeads * D, bias });
    const value = build.linear({ name: "self_attn.v_proj", input: x, outFeatures: numKeyValueHeads * D, bias });
    if (config.queryKeyNorm) {
      // The projections are kept: recomputing them costs a matrix product, the norm costs next to nothing.
      query = headNorm(build, build.nameOf("self_attn.q_norm"), build.graph.keep(query), numAttentionHeads);
      key = headNorm(build, build.nameOf("self_attn.k_norm"), build.graph.keep(key), numKeyValueHeads);
    }
    if (config.usesRotary(input.layer)) {
      const { cos, sin } = input.rotary!;
      query = rotaryEmbedding(query, input.positionIds, cos, sin, { numHeads: numAttentionHeads });
      key = rotaryEmbedding(key, input.positionIds, cos, sin, { numHeads: numKeyValueHeads });
    }
    const { output, present } = attention({
      ...{ query, key, value, numKeyValueHeads, headDim: D, scale: D ** -0.5 },
      ...{ numHeads: numAttentionHeads, masks: input.masks, past: input.past },
    });
    return { output: build.linear({ name: "self_attn.o_proj", input: output, outFeatures: C, bias: config.outputBias }), present };
  }

  function mlp(build: SegmentBuilder, x: Value): Value {
    const bias = config.mlpBias;
    const gate = build.graph.keep(build.linear({ name: "mlp.gate_proj", input: x, outFeatures: config.intermediateSize, bias }));
    const up = build.graph.keep(build.linear({ name: "mlp.up_proj", input: x, outFeatures: config.intermediateSize, bias }));
    return build.linear({ name: "mlp.down_proj", input: mul(silu(gate), up), outFeatures: C, bias });
  }

  return {
    ...config,
    maskKind: (layer): MaskKind => {
      const slidingWindow = config.slidingWindow(layer);
      return slidingWindow === undefined ? {} : { slidingWindow };
    },
    blockPrefix: (layer) => `model.layers.${layer}.`,
    embed: (build, { inputIds }) =>
      build.embedded(build.rows({ name: "model.embed_tokens.weight", shape: [V, C], kind: "embedding" }, inputIds)),
    block(build, input): BlockOutput {
      const attended = selfAttention(build, norm(build, build.nameOf("input_layernorm"), input.hidden), input);
      const middle = build.graph.keep(add(input.hidden, build.residual(attended.output, { module: "attention", input: input.hidden })));
      const gated = mlp(build, norm(build, build.nameOf("post_attention_layernorm"), middle));
      const hidden = add(middle, build.residual(gated, { module: "mlp", input: middle }));
      return { hidden, present: attended.present };
    },
    head(build, rows): HeadOutput {
      const name = config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight";
      return { features: norm(build, "model.norm", rows), vocabulary: { name, shape: [V, C], kind: "embedding" } };
    },
    labelHeads: decoderLabelHeads({ finalNorm: (build, rows) => norm(build, "model.norm", rows), tokenModule: "score" }),
    rotaryTables: (size) => computeRotaryTables(config.rotary, size),
  };
}
