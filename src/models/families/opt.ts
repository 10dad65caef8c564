/**
 * OPT: GPT-3 as Meta trained it; learned positions that begin at row 2, ReLU, and in the 350M model norms behind the branches and
 * embeddings narrower than the blocks. Zhang et al. 2022, https://arxiv.org/abs/2205.01068.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, constant, layerNorm, matmul } from "../../tensor/ops/index.ts";
import { ConfigReader } from "../config-reader.ts";
import { readActivation } from "../layers/activations.ts";
import { attention } from "../layers/attention.ts";
import { answerHead, decoderLabelHeads } from "../layers/label-heads.ts";
import type { BlockOutput, ModelFamily } from "../model.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** The first rows of the table of positions are not used: a trace of how padding was once numbered. */
const firstPosition = 2;

export const opt = {
  name: "opt",
  summary: "OPT",
  create(raw) {
    const config = new ConfigReader(raw);
    const C = config.positiveInteger("hidden_size");
    const V = config.positiveInteger("vocab_size");
    const numHeads = config.positiveInteger("num_attention_heads");
    const numHiddenLayers = config.positiveInteger("num_hidden_layers");
    const intermediateSize = config.positiveInteger("ffn_dim");
    const maxPositionEmbeddings = config.positiveInteger("max_position_embeddings", 2048);
    const embeddingWidth = config.positiveInteger("word_embed_proj_dim", C);
    const activate = readActivation(config, "activation_function", "relu");
    const normsFirst = config.boolean("do_layer_norm_before", true);
    const bias = config.boolean("enable_bias", true);
    const hasFinalNorm = normsFirst && !config.boolean("_remove_final_layer_norm", false);
    const D = C / numHeads;
    const vocabulary = { name: "model.decoder.embed_tokens.weight", shape: [V, embeddingWidth], kind: "embedding" } as const;

    const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
      layerNorm(
        x,
        build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" }),
        build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" }),
        { epsilon: 1e-5 },
      );
    /** Between the width of the embeddings and that of the blocks, where they differ. */
    const project = (build: SegmentBuilder, name: "project_in" | "project_out", x: Value): Value => {
      if (embeddingWidth === C) return x;
      const shape = name === "project_in" ? [C, embeddingWidth] : [embeddingWidth, C];
      return matmul(x, build.parameter({ name: `model.decoder.${name}.weight`, shape, kind: "weight" }), { transposeB: true });
    };
    const finished = (build: SegmentBuilder, rows: Value): Value =>
      project(build, "project_out", hasFinalNorm ? norm(build, "model.decoder.final_layer_norm", rows) : rows);
    const dense = (build: SegmentBuilder, name: string, input: Value, outFeatures = C): Value =>
      build.linear({ name, input, outFeatures, bias });

    return {
      modelType: "opt",
      ...{ vocabSize: V, hiddenSize: C, numHiddenLayers, numAttentionHeads: numHeads, numKeyValueHeads: numHeads, headDim: D },
      ...{ maxPositionEmbeddings, tieWordEmbeddings: true },
      maskKind: () => ({}),
      blockPrefix: (layer) => `model.decoder.layers.${layer}.`,
      embed(build, { inputIds, positionIds }) {
        const table = {
          name: "model.decoder.embed_positions.weight",
          shape: [maxPositionEmbeddings + firstPosition, C],
          kind: "embedding",
        } as const;
        const positions = build.rows(table, add(positionIds, constant(build.graph, firstPosition, "int64")));
        const embedded = build.embedded(add(project(build, "project_in", build.rows(vocabulary, inputIds)), positions));
        return build.residual(embedded, { module: "embedding", input: embedded });
      },
      block(build, { hidden, masks, past }): BlockOutput {
        /** One branch with its norm before or behind it. */
        const join = (stream: Value, { normName, module, branch }: Branch): Value => {
          const name = build.nameOf(normName);
          const made = branch(normsFirst ? norm(build, name, stream) : stream);
          const joined = build.graph.keep(add(stream, build.residual(made, { module, input: stream })));
          return normsFirst ? joined : build.graph.keep(norm(build, name, joined));
        };
        let present: BlockOutput["present"] | undefined;
        const middle = join(hidden, {
          ...{ normName: "self_attn_layer_norm", module: "attention" },
          branch(x) {
            const [query, key, value] = ["q_proj", "k_proj", "v_proj"].map((part) => dense(build, `self_attn.${part}`, x)) as [
              Value,
              Value,
              Value,
            ];
            const attended = attention({
              ...{ query, key, value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale: D ** -0.5, masks, past },
            });
            present = attended.present;
            return dense(build, "self_attn.out_proj", attended.output);
          },
        });
        const output = join(middle, {
          ...{ normName: "final_layer_norm", module: "mlp" },
          branch: (x) => dense(build, "fc2", activate(build.graph.keep(dense(build, "fc1", x, intermediateSize)))),
        });
        return { hidden: output, present: present! };
      },
      head: (build, rows) => ({ features: finished(build, rows), vocabulary }),
      labelHeads: {
        ...decoderLabelHeads({ finalNorm: finished, tokenModule: "classifier", tokenDropout: 0 }),
        "question-answering": answerHead(finished),
      },
    };
  },
} as const satisfies ModelFamily;

interface Branch {
  readonly normName: string;
  readonly module: "attention" | "mlp";
  branch(x: Value): Value;
}
