/**
 * The decoder that Llama and its many relatives share: RMS norms around attention and around a gated MLP, rotary positions,
 * grouped key-value heads. Families say where they differ; tensor names are the checkpoint's.
 */
import { CheckpointError } from "../../base/errors.ts";
import type { Value } from "../../tensor/graph.ts";
import { add, mul, reshape, rmsNorm, rotaryEmbedding } from "../../tensor/ops/index.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { BlockInput, BlockOutput, HeadOutput, LabelledBody, MaskKind, Model, Routing } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { type Activation, readActivation } from "./activations.ts";
import { attention } from "./attention.ts";
import { answerHead, decoderLabelHeads, readTokenDropout } from "./label-heads.ts";
import { type RotaryConfig, readRotary } from "./rotary.ts";

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
  /** Bias on query, key and value. */
  readonly queryKeyValueBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly activation: Activation;
  readonly norms: BlockNorms;
  /** Norms multiply by 1 + weight instead of the weight (Gemma). */
  readonly normsAddOne: boolean;
  /** RMS norm of queries and keys before they turn: of every head (Qwen3), or over all heads together (OLMo 2). */
  readonly queryKeyNorm: "none" | "heads" | "whole";
  /** Factor on attention scores. */
  readonly attentionScale: number;
  readonly attentionSoftCap?: number | undefined;
  readonly logitSoftCap?: number | undefined;
  /** Factors on the embeddings, on what a branch adds to the residual stream, and on the logits. */
  readonly embeddingFactor: number;
  readonly residualFactor: number;
  readonly logitFactor: number;
  /** Sliding window by layer; undefined sees everything. */
  slidingWindow(layer: number): number | undefined;
  /** Of the head for labels of tokens. */
  readonly tokenDropout: number;
  /** What the model is called inside transformers' class for answers; there is no such class where absent. */
  readonly answersWith?: "model" | "transformer";
  /** Undefined in layers without positions (SmolLM3). */
  rotary(layer: number): RotaryConfig | undefined;
  /** Query, key and value [B, T, heads * D] where they are not three projections. */
  queryKeyValue?(build: SegmentBuilder, x: Value): readonly [Value, Value, Value];
  /** [B, T, C] -> [B, T, C] where it is not the usual gated MLP. */
  mlp?(build: SegmentBuilder, x: Value, layer: number): Value;
  /** Where that has experts. */
  readonly routing?: Routing;
}

/** Where norms stand, by their names in the checkpoint; there is none where a name is absent. */
export interface BlockNorms {
  readonly beforeAttention?: string;
  /** On what attention gives, before it joins the residual stream. */
  readonly afterAttention?: string;
  readonly beforeMlp?: string;
  readonly afterMlp?: string;
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
  const rotary = readRotary(config, { headDim, maxPositionEmbeddings });
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
    queryKeyValueBias: config.boolean("attention_bias", false),
    outputBias: config.boolean("attention_bias", false),
    mlpBias: config.boolean("mlp_bias", false),
    activation: readActivation(config, "hidden_act", "silu"),
    norms: { beforeAttention: "input_layernorm", beforeMlp: "post_attention_layernorm" },
    normsAddOne: false,
    tokenDropout: readTokenDropout(config),
    queryKeyNorm: "none",
    attentionScale: headDim ** -0.5,
    ...{ embeddingFactor: 1, residualFactor: 1, logitFactor: 1 },
    slidingWindow: () => undefined,
    rotary: () => rotary,
  };
}

export function createGatedDecoder(config: GatedDecoderConfig): Model {
  const { hiddenSize: C, vocabSize: V, headDim: D, numAttentionHeads, numKeyValueHeads, rmsNormEps, norms } = config;

  const norm = (build: SegmentBuilder, name: string, x: Value): Value => {
    const weight = build.parameter({ name: `${name}.weight`, shape: [Number(x.shape.at(-1))], kind: "norm" });
    return rmsNorm(x, config.normsAddOne ? add(weight, 1) : weight, { epsilon: rmsNormEps });
  };
  const blockNorm = (build: SegmentBuilder, name: string | undefined, x: Value): Value =>
    name === undefined ? x : norm(build, build.nameOf(name), x);

  /** Norm of queries or keys x [B, T, heads * D]. */
  function queryKeyNorm(build: SegmentBuilder, name: string, { x, heads }: { x: Value; heads: number }): Value {
    if (config.queryKeyNorm === "none") return x;
    // The projections are kept: recomputing them costs a matrix product, the norm costs next to nothing.
    build.graph.keep(x);
    if (config.queryKeyNorm === "whole") return blockNorm(build, name, x);
    const [B, T] = [x.shape[0]!, x.shape[1]!];
    return reshape(blockNorm(build, name, reshape(x, [B, T, heads, D])), [B, T, heads * D]);
  }

  function projections(build: SegmentBuilder, x: Value): readonly [Value, Value, Value] {
    const project = (name: string, heads: number): Value =>
      build.linear({ name: `self_attn.${name}`, input: x, outFeatures: heads * D, bias: config.queryKeyValueBias });
    return [project("q_proj", numAttentionHeads), project("k_proj", numKeyValueHeads), project("v_proj", numKeyValueHeads)];
  }

  function selfAttention(build: SegmentBuilder, x: Value, input: BlockInput): { output: Value; present: BlockOutput["present"] } {
    const [q, k, value] = (config.queryKeyValue ?? projections)(build, x);
    let query = queryKeyNorm(build, "self_attn.q_norm", { x: q, heads: numAttentionHeads });
    let key = queryKeyNorm(build, "self_attn.k_norm", { x: k, heads: numKeyValueHeads });
    if (input.rotary) {
      const { cos, sin } = input.rotary;
      query = rotaryEmbedding(query, input.positionIds, cos, sin, { numHeads: numAttentionHeads });
      key = rotaryEmbedding(key, input.positionIds, cos, sin, { numHeads: numKeyValueHeads });
    }
    const { output, present } = attention({
      ...{ query, key, value, numKeyValueHeads, headDim: D, scale: config.attentionScale, softCap: config.attentionSoftCap },
      ...{ numHeads: numAttentionHeads, masks: input.masks, past: input.past },
    });
    return { output: build.linear({ name: "self_attn.o_proj", input: output, outFeatures: C, bias: config.outputBias }), present };
  }

  const mlp = config.mlp ?? ((build: SegmentBuilder, x: Value) => gatedMlp(build, x, { ...config, bias: config.mlpBias }));

  /** The residual stream with what a branch gave added to it. */
  function join(build: SegmentBuilder, { stream, branch, module }: { stream: Value; branch: Value; module: "attention" | "mlp" }): Value {
    const named = blockNorm(build, module === "attention" ? norms.afterAttention : norms.afterMlp, branch);
    const scaled = config.residualFactor === 1 ? named : mul(named, config.residualFactor);
    return add(stream, build.residual(scaled, { module, input: stream }));
  }

  const finalNorm =
    (base: string) =>
    (build: SegmentBuilder, rows: Value): Value =>
      norm(build, `${base}.norm`, rows);

  const stack = {
    ...config,
    maskKind: (layer: number): MaskKind => {
      const slidingWindow = config.slidingWindow(layer);
      return slidingWindow === undefined ? {} : { slidingWindow };
    },
    block(build: SegmentBuilder, input: BlockInput): BlockOutput {
      const attended = selfAttention(build, blockNorm(build, norms.beforeAttention, input.hidden), input);
      const middle = build.graph.keep(join(build, { stream: input.hidden, branch: attended.output, module: "attention" }));
      const made = mlp(build, blockNorm(build, norms.beforeMlp, middle), input.layer);
      return { hidden: join(build, { stream: middle, branch: made, module: "mlp" }), present: attended.present };
    },
  };

  /** @param base what a class of transformers calls the model in it, the start of all names */
  const named = (base: string): LabelledBody => ({
    ...stack,
    blockPrefix: (layer) => `${base}.layers.${layer}.`,
    embed(build, { inputIds }) {
      const rows = build.rows({ name: `${base}.embed_tokens.weight`, shape: [V, C], kind: "embedding" }, inputIds);
      return build.embedded(config.embeddingFactor === 1 ? rows : mul(rows, config.embeddingFactor));
    },
    head(build, rows): HeadOutput {
      const name = config.tieWordEmbeddings ? `${base}.embed_tokens.weight` : "lm_head.weight";
      const normed = finalNorm(base)(build, rows);
      return {
        features: config.logitFactor === 1 ? normed : mul(normed, config.logitFactor),
        vocabulary: { name, shape: [V, C], kind: "embedding" },
        softCap: config.logitSoftCap,
      };
    },
  });

  const { answersWith } = config;
  return {
    ...config,
    ...named("model"),
    labelHeads: {
      ...decoderLabelHeads({ finalNorm: finalNorm("model"), tokenModule: "score", tokenDropout: config.tokenDropout }),
      ...(answersWith && {
        "question-answering": { ...answerHead(finalNorm(answersWith)), ...(answersWith !== "model" && { body: named(answersWith) }) },
      }),
    },
  };
}

export interface GatedMlpOptions {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly activation: Activation;
  readonly bias?: boolean;
  /** Names of the three layers, gate, up and down. */
  readonly names?: readonly [string, string, string];
}

const usualNames = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] as const;

/** down(activation(gate(x)) * up(x)); Shazeer 2020, https://arxiv.org/abs/2002.05202. [..., C] -> [..., C] */
export function gatedMlp(build: SegmentBuilder, x: Value, options: GatedMlpOptions): Value {
  const { hiddenSize, intermediateSize, activation, bias = false, names = usualNames } = options;
  const gate = build.graph.keep(build.linear({ name: names[0], input: x, outFeatures: intermediateSize, bias }));
  const up = build.graph.keep(build.linear({ name: names[1], input: x, outFeatures: intermediateSize, bias }));
  return build.linear({ name: names[2], input: mul(activation(gate), up), outFeatures: hiddenSize, bias });
}
