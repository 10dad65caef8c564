/**
 * What every family provides: the graphs of its segments, and the facts that running them needs. A model is a stack of
 * blocks with a head; an encoder-decoder has a second stack in front, whose output every block of the first one reads.
 */
import type { Value } from "../tensor/graph.ts";
import type { RotaryConfig } from "./layers/rotary.ts";
import type { ParameterSpec, SegmentBuilder } from "./segment-builder.ts";

/** Keys and values of one layer, heads first: [B, numKeyValueHeads, tokens, headDim]. */
export interface KeyValues {
  readonly key: Value;
  readonly value: Value;
}

/** Keys and values in front of a block's own. */
export interface PastKeyValues extends KeyValues {
  /** They have room for more than there are, so new ones are not joined to them; `present` is then the new ones alone. */
  readonly isBuffer?: true;
}

/** Token ids and what else an embedding looks up, int64 [B, T]. */
export interface EmbeddingInput {
  readonly inputIds: Value;
  readonly positionIds: Value;
  /** Where the stack `readsTokenTypes`. */
  readonly tokenTypeIds?: Value;
}

export interface BlockInput {
  readonly layer: number;
  /** Residual stream [B, T, C]. */
  readonly hidden: Value;
  /** int64 [B, T]. */
  readonly positionIds: Value;
  /** Rotary tables [P, half the channels that turn]; absent in layers without them. */
  readonly rotary?: { readonly cos: Value; readonly sin: Value };
  /** Additive masks of the layer's kind, one for each chunk of queries: [B, 1, 1, t, keys up to the end of the chunk]. */
  readonly masks: readonly Value[];
  /** Keys and values of earlier tokens when decoding with a cache, or what a method puts in front. */
  readonly past?: PastKeyValues;
  /** Added to the scores of self-attention where the stack has a relative bias, as many as masks: [1, numKeyValueHeads, query heads of each, t, keys]. */
  readonly positionBias?: readonly Value[];
  /** What the encoder made of its tokens, for the cross-attention of an encoder-decoder. */
  readonly encoded?: EncoderOutput;
}

export interface EncoderOutput {
  /** Keys and values of the encoder's tokens, [B, S, heads * headDim]. */
  readonly key: Value;
  readonly value: Value;
  /** Additive, one for each chunk of queries: [B, 1, 1, t, S]. */
  readonly masks: readonly Value[];
}

export interface BlockOutput {
  readonly hidden: Value;
  /** Keys and values of all tokens so far; of the new ones where the past is a buffer. */
  readonly present: KeyValues;
}

/** The last segment up to the vocabulary projection, which objectives and generation finish in their own ways. */
export interface HeadOutput {
  /** Normalised hidden rows [N, C]. */
  readonly features: Value;
  /** Vocabulary matrix [V, C]: asked for by name, so that rows can be gathered from it before any cast. */
  readonly vocabulary: ParameterSpec;
  /** Added to the logits, V numbers in any shape. */
  readonly bias?: ParameterSpec;
  /** Logits are bent to stay below this (`layers/soft-cap.ts`); as they are where absent. */
  readonly softCap?: number | undefined;
}

/** What a model can say about a document instead of its next tokens; transformers has a class for each. */
export const labelHeadNames = [
  "sequence-classification",
  "token-classification",
  "question-answering",
  "multiple-choice",
  "sentence-embeddings",
] as const;
export type LabelHeadName = (typeof labelHeadNames)[number];

/** A head that gives numbers for labels, under the names that transformers saves it with. */
export interface LabelHead {
  /** Which tokens of a document it reads. */
  readonly pools: "first" | "last" | "mean" | "all";
  /** Modules that are new for every task, which PEFT saves whole beside an adapter. */
  readonly modules: readonly string[];
  /** Where both stacks of an encoder-decoder read the document. */
  readonly shifted?: ShiftedDocument;
  /** What it stands on, where transformers' class holds the model under other names, or only a part of it. */
  readonly body?: LabelledBody;
  /** What happens to rows of the residual stream [N, C] before they are pooled: the norm behind the last block. */
  rows?(build: SegmentBuilder, rows: Value): Value;
  /** Rows, pooled as it says -> logits [N, numLabels]. */
  build(build: SegmentBuilder, rows: Value, numLabels: number): Value;
}

/** What a head for words has beside the matrix that it shares with the embeddings. A bare encoder's checkpoint does not hold it. */
export interface WordHead {
  /** As transformers' class of the family names them. */
  readonly modules: readonly string[];
  /** Tensors of these modules that are another one of the model: name there -> parameter. */
  readonly shared: Readonly<Record<string, string>>;
}

/** How the decoder of an encoder-decoder reads a document that the encoder reads, too: shifted right by one, so that the rows of both have the same places. */
export interface ShiftedDocument {
  /** The token that the decoder begins with. */
  readonly start: number;
  /** The token that ends a document; where one row stands for all of it, it is this one's. */
  readonly end: number;
}

/** A head with the number of labels that it is made for. */
export interface ChosenHead extends LabelHead {
  readonly name: LabelHeadName;
  readonly numLabels: number;
}

/** Which keys of its own document a query may see: those at its own and earlier positions, or with `isBidirectional` all. */
export interface MaskKind {
  readonly isBidirectional?: true;
  /** Keys at this distance or more are hidden, on either side. */
  readonly slidingWindow?: number;
}

/** A learned number for each head and each bucket of distances, which all blocks of a stack add to their attention scores: `layers/relative-bias.ts`. */
export interface RelativeBias {
  /** [buckets, numAttentionHeads]. */
  readonly table: ParameterSpec;
  /** The bucket of a key's position minus the query's. */
  bucketOf(distance: number): number;
  /** Distances beyond this, on either side, are in the bucket of this one. */
  readonly farthestDistance: number;
}

/** How the blocks of a stack choose experts, and what keeps their choices even in training: `objectives/side-losses/router-balance.ts`. */
export interface Routing {
  readonly numExperts: number;
  readonly expertsPerToken: number;
  /** `router_aux_loss_coef`. */
  readonly auxLossCoef: number;
  /** `output_router_logits`: the checkpoint asks for that loss. */
  readonly hasAuxLoss: boolean;
}

/** A chain of blocks behind an embedding. */
export interface Stack {
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
  /** True if the embedding looks up token types (segments A and B). */
  readonly readsTokenTypes?: true;
  /** Kind of mask by layer; equal objects share one mask. */
  maskKind(layer: number): MaskKind;
  /** Start of the parameter names of a block, with the dot. */
  blockPrefix(layer: number): string;
  /** -> [B, T, C]. */
  embed(build: SegmentBuilder, input: EmbeddingInput): Value;
  block(build: SegmentBuilder, input: BlockInput): BlockOutput;
  readonly relativeBias?: RelativeBias;
  /** Where blocks have experts. */
  readonly routing?: Routing;
  /** Keys and values of the encoder's tokens for the cross-attention of a block: its output [B, S, C] -> [B, S, heads * headDim], twice. */
  crossKeyValues?(build: SegmentBuilder, encoderHidden: Value): KeyValues;
  /** Rotary positions of a layer, undefined where it has none; layers with the same object share one pair of tables. */
  rotary?(layer: number): RotaryConfig | undefined;
}

/** The stack that the head stands on, with the head. */
export interface Model extends Stack {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly tieWordEmbeddings: boolean;
  /** The stack in front of an encoder-decoder's decoder. Its last block ends with whatever norm the family puts there. */
  readonly encoder?: Stack;
  /** Rows of the residual stream [N, C]. */
  head(build: SegmentBuilder, rows: Value): HeadOutput;
  /** Where `head` is more than the vocabulary. */
  readonly wordHead?: WordHead;
  /** Heads for labels that the family has. */
  readonly labelHeads?: Readonly<Partial<Record<LabelHeadName, LabelHead>>>;
  /** The one that stands on the model instead of the vocabulary. */
  readonly labelHead?: ChosenHead;
  /** Modules of the head that are new for the task: trained whole beside any method, and saved whole as PEFT does. */
  readonly newModules?: readonly string[];
}

/** What a head for labels stands on. */
export interface LabelledBody extends Stack, Pick<Model, "head" | "encoder"> {}

/** What a checkpoint holds, for the few facts that config.json leaves open. */
export interface CheckpointContent {
  holds(tensor: string): boolean;
}

/** A family: how a config.json of this `model_type` becomes a model. */
export interface ModelFamily {
  /** `model_type` in config.json. */
  readonly name: string;
  readonly summary: string;
  /** @throws CheckpointError if config.json lacks a field or holds one out of range; UnsupportedError for options not built */
  create(config: Readonly<Record<string, unknown>>, file?: CheckpointContent): Model;
}
