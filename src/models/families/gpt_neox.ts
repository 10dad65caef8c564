/**
 * GPT-NeoX and Pythia: attention and MLP side by side on the same stream, partial rotary positions, query, key and value of each
 * head beside each other in one projection. Black et al. 2022, https://arxiv.org/abs/2204.06745.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, layerNorm, reshape, rotaryEmbedding, slice } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { readActivation } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { answerHead, decoderLabelHeads } from "../layers/label-heads.ts";
import { readRotary } from "../layers/rotary.ts";
import type { BlockOutput, ModelFamily } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export const gptNeox = {
  name: "gpt_neox",
  summary: "GPT-NeoX, Pythia",
  create(raw) {
    // Older configs call the share of turning channels rotary_pct and the base rotary_emb_base.
    const config = new ConfigReader({ rope_theta: raw.rotary_emb_base ?? 10_000, partial_rotary_factor: raw.rotary_pct ?? 0.25, ...raw });
    const C = config.positiveInteger("hidden_size");
    const V = config.positiveInteger("vocab_size");
    const numHeads = config.positiveInteger("num_attention_heads");
    const numHiddenLayers = config.positiveInteger("num_hidden_layers");
    const intermediateSize = config.positiveInteger("intermediate_size");
    const maxPositionEmbeddings = config.positiveInteger("max_position_embeddings", 2048);
    const epsilon = config.number("layer_norm_eps", 1e-5);
    const activate = readActivation(config, "hidden_act", "gelu");
    const isParallel = config.boolean("use_parallel_residual", true);
    const attentionBias = config.boolean("attention_bias", true);
    const tieWordEmbeddings = config.boolean("tie_word_embeddings", false);
    const D = C / numHeads;
    const rotary = readRotary(config, { headDim: D, maxPositionEmbeddings, partialRotaryFactor: 0.25 });

    const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
      layerNorm(
        x,
        build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" }),
        build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" }),
        { epsilon },
      );
    const finalNorm = (build: SegmentBuilder, rows: Value): Value => norm(build, "gpt_neox.final_layer_norm", rows);

    return {
      modelType: "gpt_neox",
      ...{ vocabSize: V, hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim: D },
      ...{ maxPositionEmbeddings, tieWordEmbeddings },
      maskKind: () => ({}),
      blockPrefix: (layer) => `gpt_neox.layers.${layer}.`,
      rotary: () => rotary,
      embed: (build, { inputIds }) =>
        build.embedded(build.rows({ name: "gpt_neox.embed_in.weight", shape: [V, C], kind: "embedding" }, inputIds)),
      block(build, { hidden, positionIds, masks, past, rotary: tables }): BlockOutput {
        const x = norm(build, build.nameOf("input_layernorm"), hidden);
        const joint = build.linear({ name: "attention.query_key_value", input: x, outFeatures: 3 * C, bias: attentionBias });
        const [B, T] = [joint.shape[0]!, joint.shape[1]!];
        const byHead = reshape(joint, [B, T, numHeads, 3 * D]);
        const part = (index: number): Value => reshape(slice(byHead, 3, { start: index * D, size: D }), [B, T, C]);
        const turned = (value: Value): Value => rotaryEmbedding(value, positionIds, tables!.cos, tables!.sin, { numHeads });
        const [query, key, value] = [turned(part(0)), turned(part(1)), part(2)];
        const { output, present } = attention({
          ...{ query, key, value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale: D ** -0.5, masks, past },
        });
        const made = build.linear({ name: "attention.dense", input: output, outFeatures: C, bias: attentionBias });
        const attended = build.residual(made, { module: "attention", input: hidden });
        const middle = build.graph.keep(add(hidden, attended));
        const mlpInput = isParallel ? hidden : middle;
        const inner = build.linear({
          ...{ name: "mlp.dense_h_to_4h", input: norm(build, build.nameOf("post_attention_layernorm"), mlpInput) },
          ...{ outFeatures: intermediateSize, bias: true },
        });
        const projected = build.linear({ name: "mlp.dense_4h_to_h", input: activate(build.graph.keep(inner)), outFeatures: C, bias: true });
        return { hidden: add(middle, build.residual(projected, { module: "mlp", input: mlpInput })), present };
      },
      head: (build, rows) => ({
        features: finalNorm(build, rows),
        vocabulary: { name: tieWordEmbeddings ? "gpt_neox.embed_in.weight" : "embed_out.weight", shape: [V, C], kind: "embedding" },
      }),
      labelHeads: {
        ...decoderLabelHeads({ finalNorm, tokenModule: "classifier", tokenDropout: config.dropout("classifier_dropout", 0.1) }),
        "question-answering": answerHead(finalNorm),
      },
    };
  },
} as const satisfies ModelFamily;
