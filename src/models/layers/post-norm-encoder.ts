/**
 * The encoder that BERT, RoBERTa and DistilBERT share: learned positions, bidirectional attention, norms behind attention and
 * MLP, and a masked-token head that shares the embedding. Families say how they name their tensors; the rest is the same.
 */
import type { Value } from "../../tensor/graph.ts";
import { add, constant, layerNorm, sub } from "../../tensor/ops/index.ts";
import type { BlockOutput, Model } from "../model.ts";
import type { ParameterSpec, SegmentBuilder } from "../segment-builder.ts";
import { attention } from "./attention.ts";

export interface PostNormEncoderConfig {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Rows of the table of positions. */
  readonly positions: number;
  /** Row of the first position. */
  readonly firstPosition: number;
  /** Token types; 0 where the family has none. */
  readonly tokenTypes: number;
  readonly epsilon: number;
  readonly activate: (x: Value) => Value;
  readonly names: PostNormNames;
  readonly labelHeads: (tools: EncoderTools) => NonNullable<Model["labelHeads"]>;
}

/** Where the tensors stand in the checkpoint. */
export interface PostNormNames {
  /** Of `word_embeddings`, `position_embeddings`, `token_type_embeddings`, `LayerNorm`. */
  readonly embeddings: string;
  /** Of the blocks, without the number. */
  readonly blocks: string;
  readonly block: Readonly<Record<"query" | "key" | "value" | "output" | "attentionNorm" | "up" | "down" | "outputNorm", string>>;
  /** Beside the tensors that we read: all `modules`, and what transformers calls the layer that shares the word embeddings, `decoder`. */
  readonly head: Readonly<Record<"dense" | "norm" | "bias" | "decoder", string>> & { readonly modules: readonly string[] };
}

/** What heads are written with. */
export interface EncoderTools {
  /** A linear layer of the model with a bias; as wide as the model where no width is given. */
  dense(build: SegmentBuilder, name: string, input: Value, outFeatures?: number): Value;
}

export function createPostNormEncoder(config: PostNormEncoderConfig): Model {
  const { hiddenSize: C, vocabSize: V, numAttentionHeads: numHeads, names, firstPosition, activate } = config;
  const D = C / numHeads;
  const table = (name: string, rows: number): ParameterSpec => ({
    name: `${names.embeddings}.${name}.weight`,
    shape: [rows, C],
    kind: "embedding",
  });
  const norm = (build: SegmentBuilder, name: string, x: Value): Value =>
    layerNorm(
      x,
      build.parameter({ name: `${name}.weight`, shape: [C], kind: "norm" }),
      build.parameter({ name: `${name}.bias`, shape: [C], kind: "bias" }),
      { epsilon: config.epsilon },
    );
  const dense: EncoderTools["dense"] = (build, name, input, outFeatures = C) => build.linear({ name, input, outFeatures, bias: true });
  const wordEmbeddings = table("word_embeddings", V);

  return {
    ...{ modelType: config.modelType, vocabSize: V, hiddenSize: C, numHiddenLayers: config.numHiddenLayers, headDim: D },
    ...{ numAttentionHeads: numHeads, numKeyValueHeads: numHeads, tieWordEmbeddings: true },
    maxPositionEmbeddings: config.positions - firstPosition,
    ...(config.tokenTypes > 1 && { readsTokenTypes: true }),
    maskKind: () => ({ isBidirectional: true }),
    blockPrefix: (layer) => `${names.blocks}.${layer}.`,
    embed(build, { inputIds, positionIds, tokenTypeIds }) {
      const rows = firstPosition === 0 ? positionIds : add(positionIds, constant(build.graph, firstPosition, "int64"));
      const words = build.rows(wordEmbeddings, inputIds);
      // Where there is one type only, every token has it.
      const types = tokenTypeIds ?? sub(inputIds, inputIds);
      const typed = config.tokenTypes > 0 ? add(words, build.rows(table("token_type_embeddings", config.tokenTypes), types)) : words;
      const summed = build.embedded(add(typed, build.rows(table("position_embeddings", config.positions), rows)));
      const embedded = norm(build, `${names.embeddings}.LayerNorm`, summed);
      return build.residual(embedded, { module: "embedding", input: embedded });
    },
    block(build, { hidden, masks, past }): BlockOutput {
      const { block } = names;
      const [query, key, value] = [block.query, block.key, block.value].map((name) => dense(build, name, hidden)) as [Value, Value, Value];
      const { output, present } = attention({
        ...{ query, key, value, numHeads, numKeyValueHeads: numHeads, headDim: D, scale: D ** -0.5, masks, past, isBidirectional: true },
      });
      const attended = build.residual(dense(build, block.output, output), { module: "attention", input: hidden });
      const middle = build.graph.keep(norm(build, build.nameOf(block.attentionNorm), build.graph.keep(add(hidden, attended))));
      const inner = build.graph.keep(dense(build, block.up, middle, config.intermediateSize));
      const projected = build.residual(dense(build, block.down, activate(inner)), { module: "mlp", input: middle });
      return { hidden: norm(build, build.nameOf(block.outputNorm), build.graph.keep(add(middle, projected))), present };
    },
    head(build, rows) {
      const transformed = activate(dense(build, names.head.dense, rows));
      return {
        features: norm(build, names.head.norm, transformed),
        vocabulary: wordEmbeddings,
        bias: { name: names.head.bias, shape: [V], kind: "bias" },
      };
    },
    wordHead: {
      modules: names.head.modules,
      shared: {
        [`${names.head.decoder}.weight`]: wordEmbeddings.name,
        ...(names.head.bias !== `${names.head.decoder}.bias` && { [`${names.head.decoder}.bias`]: names.head.bias }),
      },
    },
    labelHeads: config.labelHeads({ dense }),
  };
}
