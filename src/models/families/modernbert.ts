/**
 * ModernBERT: an encoder with rotary positions, norms before attention and MLP, a gated MLP, and attention that sees a window in
 * most layers, everything in every third. Warner et al. 2024, https://arxiv.org/abs/2412.13663.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, broadcastTo, constant, layerNorm, mul, rotaryEmbedding, split } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { readActivation } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { embeddingHead, headLinear } from "../layers/label-heads.ts";
import { readRotary } from "../layers/rotary.ts";
import type { BlockInput, BlockOutput, LabelHead, ModelFamily } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export const modernbert = {
  name: "modernbert",
  summary: "ModernBERT (encoder)",
  create(raw) {
    const config = new ConfigReader(raw);
    const C = config.positiveInteger("hidden_size");
    const V = config.positiveInteger("vocab_size");
    const numHeads = config.positiveInteger("num_attention_heads");
    const intermediateSize = config.positiveInteger("intermediate_size");
    const maxPositionEmbeddings = config.positiveInteger("max_position_embeddings", 8192);
    const tieWordEmbeddings = config.boolean("tie_word_embeddings", true);
    const epsilon = config.number("norm_eps", 1e-5);
    const [normBias, attentionBias, mlpBias, headBias] = ["norm_bias", "attention_bias", "mlp_bias", "classifier_bias"].map((key) =>
      config.boolean(key, false),
    );
    const activate = readActivation(config, "hidden_activation", "gelu");
    const activateHead = readActivation(config, "classifier_activation", "gelu");
    const pools = config.requireOneOf("classifier_pooling", ["cls", "mean"], "cls") === "cls" ? "first" : "mean";
    const dropout = config.dropout("classifier_dropout", 0);
    const D = C / numHeads;
    const sizes = { headDim: D, maxPositionEmbeddings };
    const whole = readRotary(rotaryOf(config, "full_attention"), { ...sizes, ropeTheta: 160_000 });
    const local = readRotary(rotaryOf(config, "sliding_attention"), sizes);
    const isLocal = localLayers(config);
    // config.json gives the width of the whole window; half of it is seen on either side.
    const slidingWindow = Math.floor(config.positiveInteger("local_attention", 128) / 2) + 1;
    const tokenEmbeddings = { name: "model.embeddings.tok_embeddings.weight", shape: [V, C], kind: "embedding" } as const;

    const norm = (build: SegmentBuilder, name: string, x: Value): Value => {
      const weight = build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" });
      const bias = normBias
        ? build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" })
        : broadcastTo(constant(build.graph, 0), [C]);
      return layerNorm(x, weight, bias, { epsilon });
    };

    function selfAttention(build: SegmentBuilder, x: Value, { positionIds, rotary, masks, past }: BlockInput) {
      const joint = build.linear({ name: "attn.Wqkv", input: x, outFeatures: 3 * C, bias: attentionBias! });
      const [q, k, value] = split(joint, 2, [C, C, C]) as [Value, Value, Value];
      const turned = (rows: Value): Value => rotaryEmbedding(rows, positionIds, rotary!.cos, rotary!.sin, { numHeads });
      const { output, present } = attention({
        ...{ query: turned(q), key: turned(k), value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale: D ** -0.5 },
        ...{ masks, past, isBidirectional: true },
      });
      return { output: build.linear({ name: "attn.Wo", input: output, outFeatures: C, bias: attentionBias! }), present };
    }

    function mlp(build: SegmentBuilder, x: Value): Value {
      const joint = build.graph.keep(build.linear({ name: "mlp.Wi", input: x, outFeatures: 2 * intermediateSize, bias: mlpBias! }));
      const [inner, gate] = split(joint, 2, [intermediateSize, intermediateSize]) as [Value, Value];
      return build.linear({ name: "mlp.Wo", input: mul(activate(inner), gate), outFeatures: C, bias: mlpBias! });
    }

    const finalNorm = (build: SegmentBuilder, rows: Value): Value => norm(build, "model.final_norm", rows);
    /** What stands between the last norm and every layer for words or labels. */
    const prediction = (build: SegmentBuilder, rows: Value): Value =>
      norm(build, "head.norm", activateHead(build.linear({ name: "head.dense", input: rows, outFeatures: C, bias: headBias! })));
    const labelled = (read: LabelHead["pools"]): LabelHead => ({
      ...{ pools: read, modules: ["classifier"], rows: finalNorm },
      build: (build, rows, outFeatures) =>
        headLinear(build, { name: "classifier", input: build.dropout(prediction(build, rows), dropout), outFeatures }),
    });

    return {
      ...{ modelType: "modernbert", vocabSize: V, hiddenSize: C, numHiddenLayers: config.positiveInteger("num_hidden_layers") },
      ...{ numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim: D, maxPositionEmbeddings, tieWordEmbeddings },
      maskKind: (layer) => ({ isBidirectional: true, ...(isLocal(layer) && { slidingWindow }) }),
      rotary: (layer) => (isLocal(layer) ? local : whole),
      blockPrefix: (layer) => `model.layers.${layer}.`,
      embed(build, { inputIds }) {
        const embedded = norm(build, "model.embeddings.norm", build.embedded(build.rows(tokenEmbeddings, inputIds)));
        return build.residual(embedded, { module: "embedding", input: embedded });
      },
      block(build, input): BlockOutput {
        const { layer, hidden } = input;
        // The embeddings end with a norm, so the first block does not begin with one.
        const normed = layer === 0 ? hidden : norm(build, build.nameOf("attn_norm"), hidden);
        const { output, present } = selfAttention(build, normed, input);
        const middle = build.graph.keep(add(hidden, build.residual(output, { module: "attention", input: hidden })));
        const made = mlp(build, norm(build, build.nameOf("mlp_norm"), middle));
        return { hidden: add(middle, build.residual(made, { module: "mlp", input: middle })), present };
      },
      head: (build, rows) => ({
        features: prediction(build, finalNorm(build, rows)),
        vocabulary: tieWordEmbeddings ? tokenEmbeddings : { ...tokenEmbeddings, name: "decoder.weight" },
        ...(config.boolean("decoder_bias", true) && { bias: { name: "decoder.bias", shape: [V], kind: "bias" } }),
      }),
      wordHead: {
        modules: ["head", "decoder"],
        shared: tieWordEmbeddings ? { "decoder.weight": tokenEmbeddings.name } : {},
      },
      labelHeads: {
        "sequence-classification": labelled(pools),
        "multiple-choice": labelled(pools),
        "token-classification": labelled("all"),
        "question-answering": labelled("all"),
        "sentence-embeddings": embeddingHead(finalNorm),
      },
    };
  },
} as const satisfies ModelFamily;

/** `layer_types` where present, else the first layer and every `global_attn_every_n_layers`th behind it see everything. */
function localLayers(config: ConfigReader): (layer: number) => boolean {
  const types = config.list("layer_types");
  const every = config.positiveInteger("global_attn_every_n_layers", 3);
  return (layer) => (types ? types[layer] === "sliding_attention" : layer % every !== 0);
}

/** Rotary positions of one kind of layer: transformers 5 keeps both inside rope_parameters, earlier versions wrote a base for each. */
function rotaryOf(config: ConfigReader, kind: "full_attention" | "sliding_attention"): ConfigReader {
  const nested = config.object("rope_parameters")?.[kind];
  const theta = config.optionalNumber(kind === "full_attention" ? "global_rope_theta" : "local_rope_theta");
  return config.with({ rope_parameters: nested, ...(theta !== undefined && { rope_theta: theta }) });
}
