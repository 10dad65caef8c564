/**
 * BERT: an encoder with learned positions and token types, norms behind attention and MLP, and a masked-token head that shares
 * the embedding. Devlin et al. 2018, https://arxiv.org/abs/1810.04805.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, layerNorm, tanh } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { activations } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { encoderLabelHeads } from "../layers/encoder-heads.ts";
import type { BlockOutput, ModelFamily } from "../model.ts";
import type { ParameterSpec, SegmentBuilder } from "../segment-builder.ts";

export const bert = {
  name: "bert",
  summary: "BERT (encoder)",
  create(raw) {
    const config = new ConfigReader(raw);
    const C = config.positiveInteger("hidden_size");
    const V = config.positiveInteger("vocab_size");
    const numHeads = config.positiveInteger("num_attention_heads");
    const numHiddenLayers = config.positiveInteger("num_hidden_layers");
    const intermediateSize = config.positiveInteger("intermediate_size");
    const maxPositionEmbeddings = config.positiveInteger("max_position_embeddings", 512);
    const numTypes = config.positiveInteger("type_vocab_size", 2);
    const epsilon = config.number("layer_norm_eps", 1e-12);
    const activate = activations[config.requireOneOf("hidden_act", Object.keys(activations), "gelu")]!;
    config.requireOneOf("position_embedding_type", ["absolute"], "absolute");
    const D = C / numHeads;

    const table = (name: string, rows: number): ParameterSpec => ({
      name: `bert.embeddings.${name}.weight`,
      shape: [rows, C],
      kind: "embedding",
    });
    const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
      layerNorm(
        x,
        build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" }),
        build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" }),
        { epsilon },
      );
    const dense = (build: SegmentBuilder, name: string, input: Value, outFeatures = C): Value =>
      build.linear({ name, input, outFeatures, bias: true });
    const wordEmbeddings = table("word_embeddings", V);

    return {
      modelType: "bert",
      ...{ vocabSize: V, hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim: D },
      ...{ maxPositionEmbeddings, tieWordEmbeddings: true, readsTokenTypes: true },
      maskKind: () => ({ isBidirectional: true }),
      blockPrefix: (layer) => `bert.encoder.layer.${layer}.`,
      embed(build, { inputIds, positionIds, tokenTypeIds }) {
        const words = add(build.rows(wordEmbeddings, inputIds), build.rows(table("token_type_embeddings", numTypes), tokenTypeIds!));
        const summed = build.embedded(add(words, build.rows(table("position_embeddings", maxPositionEmbeddings), positionIds)));
        const embedded = norm(build, "bert.embeddings.LayerNorm", summed);
        return build.residual(embedded, { module: "embedding", input: embedded });
      },
      block(build, { hidden, masks, past }): BlockOutput {
        const [query, key, value] = ["query", "key", "value"].map((part) => dense(build, `attention.self.${part}`, hidden)) as [
          Value,
          Value,
          Value,
        ];
        const { output, present } = attention({
          ...{ query, key, value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale: D ** -0.5, masks, past, isBidirectional: true },
        });
        const attended = build.residual(dense(build, "attention.output.dense", output), { module: "attention", input: hidden });
        const middle = build.graph.keep(norm(build, build.nameOf("attention.output.LayerNorm"), build.graph.keep(add(hidden, attended))));
        const inner = build.graph.keep(dense(build, "intermediate.dense", middle, intermediateSize));
        const projected = build.residual(dense(build, "output.dense", activate(inner)), { module: "mlp", input: middle });
        return { hidden: norm(build, build.nameOf("output.LayerNorm"), build.graph.keep(add(middle, projected))), present };
      },
      head(build, rows) {
        const transformed = activate(dense(build, "cls.predictions.transform.dense", rows));
        return {
          features: norm(build, "cls.predictions.transform.LayerNorm", transformed),
          vocabulary: wordEmbeddings,
          bias: { name: "cls.predictions.bias", shape: [V], kind: "bias" },
        };
      },
      labelHeads: encoderLabelHeads({ pool: (build, rows) => tanh(dense(build, "bert.pooler.dense", rows)) }),
    };
  },
} as const satisfies ModelFamily;
