/**
 * GPT-2, the open architecture of GPT-3: learned positions, layer norms with bias, tanh GELU.
 * Its linear layers are Conv1D: weights [in, out]. Radford et al. 2019.
 */
import { UnsupportedError } from "../../base/errors.ts";
import type { Value } from "../../tensor/graph.ts";
import { add, layerNorm, split } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { readActivation } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { answerHead, decoderLabelHeads, readTokenDropout } from "../layers/label-heads.ts";
import type { BlockOutput, ModelFamily } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export const gpt2 = {
  name: "gpt2",
  summary: "GPT-2 and relatives",
  create(raw) {
    const config = new ConfigReader(raw);
    const C = config.positiveInteger("n_embd");
    const V = config.positiveInteger("vocab_size");
    const numHeads = config.positiveInteger("n_head");
    const D = C / numHeads;
    const intermediateSize = config.positiveInteger("n_inner", 4 * C);
    const numHiddenLayers = config.positiveInteger("n_layer");
    const maxPositionEmbeddings = config.positiveInteger("n_positions", 1024);
    const epsilon = config.number("layer_norm_epsilon", 1e-5);
    const activate = readActivation(config, "activation_function", "gelu_new");
    const scalesScores = config.boolean("scale_attn_weights", true);
    const scalesByLayer = config.boolean("scale_attn_by_inverse_layer_idx", false);
    const tieWordEmbeddings = config.boolean("tie_word_embeddings", true);
    if (config.boolean("add_cross_attention", false))
      throw new UnsupportedError("config.json: add_cross_attention is not supported for gpt2; use a decoder-only checkpoint.");

    const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
      layerNorm(
        x,
        build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" }),
        build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" }),
        { epsilon },
      );
    const finalNorm = (build: SegmentBuilder, rows: Value): Value => norm(build, "transformer.ln_f", rows);
    const conv1d = { bias: true, layout: "in-out" } as const;

    return {
      modelType: "gpt2",
      ...{ vocabSize: V, hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim: D },
      ...{ maxPositionEmbeddings, tieWordEmbeddings },
      maskKind: () => ({}),
      blockPrefix: (layer) => `transformer.h.${layer}.`,
      embed(build, { inputIds, positionIds }) {
        const tokens = build.rows({ name: "transformer.wte.weight", shape: [V, C], kind: "embedding" }, inputIds);
        const positions = build.rows({ name: "transformer.wpe.weight", shape: [maxPositionEmbeddings, C], kind: "embedding" }, positionIds);
        const embedded = build.embedded(add(tokens, positions));
        return build.residual(embedded, { module: "embedding", input: embedded });
      },
      block(build, { layer, hidden, masks, past }): BlockOutput {
        const joint = build.linear({
          name: "attn.c_attn",
          input: norm(build, build.nameOf("ln_1"), hidden),
          outFeatures: 3 * C,
          ...conv1d,
        });
        const [query, key, value] = split(joint, 2, [C, C, C]) as [Value, Value, Value];
        const scale = (scalesScores ? D ** -0.5 : 1) / (scalesByLayer ? layer + 1 : 1);
        const { output, present } = attention({ query, key, value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale, masks, past });
        const attended = build.linear({ name: "attn.c_proj", input: output, outFeatures: C, ...conv1d });
        const middle = build.graph.keep(add(hidden, build.residual(attended, { module: "attention", input: hidden })));
        const inner = build.linear({
          name: "mlp.c_fc",
          input: norm(build, build.nameOf("ln_2"), middle),
          outFeatures: intermediateSize,
          ...conv1d,
        });
        const projected = build.linear({ name: "mlp.c_proj", input: activate(build.graph.keep(inner)), outFeatures: C, ...conv1d });
        return { hidden: add(middle, build.residual(projected, { module: "mlp", input: middle })), present };
      },
      head(build, rows) {
        const name = tieWordEmbeddings ? "transformer.wte.weight" : "lm_head.weight";
        return { features: finalNorm(build, rows), vocabulary: { name, shape: [V, C], kind: "embedding" } };
      },
      labelHeads: {
        ...decoderLabelHeads({ finalNorm, tokenModule: "classifier", tokenDropout: readTokenDropout(config) }),
        "question-answering": answerHead(finalNorm),
      },
    };
  },
} as const satisfies ModelFamily;
