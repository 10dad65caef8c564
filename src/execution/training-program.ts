/**
 * The compiled segments of a model under training, for one number of query chunks: forward and backward of every block,
 * and the head with its objective, forward and backward in one. Blocks with equal graphs share one executable.
 */
import type { Backend } from "../backends/backend.ts";
import type { AttachedMethod } from "../methods/method.ts";
import type { Model, Stack } from "../models/model.ts";
import type { ModelHooks, SegmentBuilder } from "../models/segment-builder.ts";
import {
  buildBlock,
  buildEmbedding,
  buildHead,
  buildLabelHead,
  buildPositionBias,
  type Segment,
  type SegmentContext,
} from "../models/segments.ts";
import type { LabelObjective, Objective, ObjectiveOutput, ReferenceTop } from "../objectives/objective.ts";
import { gradients } from "../tensor/autodiff.ts";
import type { Graph, TensorType, Value } from "../tensor/graph.ts";
import { autocast } from "../tensor/passes/autocast.ts";
import { cutDecodedWeights } from "../tensor/passes/cut-decoded-weights.ts";
import { extract, withoutUnread } from "../tensor/passes/extract.ts";
import { mergeProducts } from "../tensor/passes/merge-products.ts";
import { scaleRowsLate } from "../tensor/passes/scale-rows-late.ts";
import { type Dim, dim } from "../tensor/shape.ts";
import { differentiateSegment } from "./differentiate-segment.ts";
import { gradientOutputs } from "./parameter-gradients.ts";
import { compileToStay, type SegmentExecutable } from "./pass-memory.ts";
import { buildReferenceLogits, type ReferenceModel } from "./reference-model.ts";
import type { TopPredictions } from "./top-predictions.ts";
import { type ParameterStore, storageIn } from "./weights/parameter-store.ts";

export interface ProgramOptions {
  readonly backend: Backend;
  readonly model: Model;
  readonly method: AttachedMethod;
  /** Regularisers, after the method's own hooks. Left out of evaluation. */
  readonly regularisers: readonly ModelHooks[];
  readonly objective: Objective | LabelObjective;
  readonly objectiveConfig: unknown;
  readonly activationCheckpointing: "none" | "block";
  /** float16: products and what stands between them, by `autocast`. float32 where absent. */
  readonly precision?: "float32" | "float16" | undefined;
  /** The frozen model that the objective compares with, where it does. */
  readonly reference?: ReferenceModel | undefined;
  /** What is left of it, where the objective is content with its likeliest predictions. */
  readonly referenceTop?: Pick<TopPredictions, "k"> | undefined;
  /** Where the parameters are; the graphs are built for the types in which they are held. */
  readonly store: Pick<ParameterStore, "parameters">;
}

export interface CompiledSegment {
  readonly segment: Segment;
  readonly forward: SegmentExecutable;
  readonly forwardGraph: Graph;
  readonly backward?: { readonly executable: SegmentExecutable; readonly graph: Graph; readonly kept: readonly string[] };
}

/** Forward and backward in one. */
export type CompiledHead = Omit<CompiledSegment, "backward">;

/** What the host reads of a head's results. */
export const headReport: ReadonlySet<string> = new Set(["lossSum", "correct", "targetLosses", "predictions"]);

/** One stack, from token ids to the last hidden state. */
export interface Trunk {
  readonly stack: Stack;
  readonly embedding: CompiledSegment;
  /** Where the stack has a relative bias. */
  readonly positionBias?: CompiledSegment;
  readonly blocks: readonly CompiledSegment[];
}

/** The stacks of a model, without its head. */
export interface Body {
  readonly encoder?: Trunk;
  readonly trunk: Trunk;
}

export const segmentsOf = ({ embedding, positionBias, blocks }: Trunk): readonly CompiledSegment[] => [
  embedding,
  ...(positionBias ? [positionBias] : []),
  ...blocks,
];

export interface TrainingProgram extends Body {
  /** rows, labels, weights, gradientScale (, seed) (, referenceRows) -> lossSum, correct, targetLosses (, rows.gradient, gradients). */
  readonly head: CompiledHead;
}

/** How many chunks the queries of each stack are cut into. */
export interface Chunks {
  readonly encoder?: number;
  readonly trunk: number;
}

export async function compileTraining(options: ProgramOptions, chunks: Chunks): Promise<TrainingProgram> {
  const { model } = options;
  const encoder = model.encoder && (await compileStack(options, { stack: model.encoder, chunks: chunks.encoder!, encoderReached: false }));
  const main = await compileStack(options, { stack: model, chunks: chunks.trunk, encoderReached: encoder?.reached ?? false });
  const context = segmentContext(options, { chunks: chunks.trunk, isTraining: true });
  return {
    ...(encoder && { encoder: encoder.trunk }),
    trunk: main.trunk,
    head: await compileHead(options, { context, needsRowGradient: main.reached, evaluates: false }),
  };
}

interface StackToCompile {
  readonly stack: Stack;
  readonly chunks: number;
  /** True if something in the encoder that this stack attends to is trained. */
  readonly encoderReached: boolean;
}

/** @returns the stack with its gradients; `reached` is true if the gradient of its output leads to something that is trained */
async function compileStack(
  options: ProgramOptions,
  { stack, chunks, encoderReached }: StackToCompile,
): Promise<{ trunk: Trunk; reached: boolean }> {
  const { method } = options;
  const context: SegmentContext = { ...segmentContext(options, { chunks, isTraining: true }), stack };
  const trains = (name: string): boolean => method.trains(name);
  const keepNothing = options.activationCheckpointing === "block";
  const embeddingSegment = buildEmbedding(context);
  let reached = trainsAny(embeddingSegment, trains);
  const embedding = await compileSegment(options, { segment: embeddingSegment, trains, inputGradients: [], keepNothing });
  const biasSegment = buildPositionBias(context);
  const trainsBias = biasSegment !== undefined && trainsAny(biasSegment, trains);
  const positionBias = biasSegment && (await compileSegment(options, { segment: biasSegment, trains, inputGradients: [], keepNothing }));
  const blocks: CompiledSegment[] = [];
  for (let layer = 0; layer < stack.numHiddenLayers; layer++) {
    const segment = buildBlock(context, { layer });
    reached ||= encoderReached || trainsBias || trainsAny(segment, trains);
    // The first block that is trained gives the gradient of its input, too, though nobody needs it: it shares a program with the others.
    const inputGradients = [
      ...(reached ? ["hidden"] : []),
      ...(encoderReached ? ["encoderHidden"] : []),
      ...(trainsBias ? biasSegment.graph.outputs.keys() : []),
    ];
    blocks.push(await compileSegment(options, { segment, trains, inputGradients, keepNothing }));
  }
  return { trunk: { stack, embedding, ...(positionBias && { positionBias }), blocks }, reached };
}

/** The same segments without gradients and regularisers. */
export async function compileEvaluation(options: ProgramOptions, chunks: Chunks): Promise<TrainingProgram> {
  const context = segmentContext(options, { chunks: chunks.trunk, isTraining: false });
  return {
    ...(await compileBody(options, chunks)),
    head: await compileHead(options, { context, needsRowGradient: false, evaluates: true }),
  };
}

/** Forward only, without regularisers and head. */
export async function compileBody(
  options: Pick<ProgramOptions, "backend" | "model" | "method" | "store" | "precision">,
  chunks: Chunks,
): Promise<Body> {
  const { model } = options;
  return {
    ...(model.encoder && { encoder: await compileForward(options, { stack: model.encoder, chunks: chunks.encoder! }) }),
    trunk: await compileForward(options, { stack: model, chunks: chunks.trunk }),
  };
}

async function compileForward(
  options: Pick<ProgramOptions, "backend" | "model" | "method" | "store" | "precision">,
  { stack, chunks }: Pick<StackToCompile, "stack" | "chunks">,
): Promise<Trunk> {
  const context: SegmentContext = { ...segmentContext({ ...options, regularisers: [] }, { chunks, isTraining: false }), stack };
  const nothing = { trains: () => false, inputGradients: [], keepNothing: true };
  const embedding = await compileSegment(options, { segment: buildEmbedding(context), ...nothing });
  const biasSegment = buildPositionBias(context);
  const positionBias = biasSegment && (await compileSegment(options, { segment: biasSegment, ...nothing }));
  const blocks: CompiledSegment[] = [];
  for (let layer = 0; layer < stack.numHiddenLayers; layer++) {
    blocks.push(await compileSegment(options, { segment: buildBlock(context, { layer }), ...nothing }));
  }
  return { stack, embedding, ...(positionBias && { positionBias }), blocks };
}

function segmentContext(
  { backend, model, method, regularisers, store }: Pick<ProgramOptions, "backend" | "model" | "method" | "regularisers" | "store">,
  { chunks, isTraining }: { chunks: number; isTraining: boolean },
): SegmentContext {
  return {
    model,
    chunks,
    options: {
      hooks: [method.hooks, ...(isTraining ? regularisers : [])],
      isTraining,
      storageOf: storageIn(store),
      isFrozen: (name) => !method.trains(name),
      cutsTrained: !backend.deviceMemory,
    },
  };
}

const trainsAny = (segment: Segment, trains: (name: string) => boolean): boolean =>
  [...segment.parameters.values()].some(({ name }) => trains(name));

async function compileSegment(
  { backend, precision }: Pick<ProgramOptions, "backend" | "precision">,
  options: Parameters<typeof differentiateSegment>[0],
): Promise<CompiledSegment> {
  const merged = mergeProducts(options.segment.graph);
  const graph = backend.decodesInParts ? cutDecodedWeights(merged) : merged;
  const segment = inPrecision({ ...options.segment, graph }, precision);
  const { forward, backward } = differentiateSegment({ ...options, segment });
  const compiled = { segment, forwardGraph: forward, forward: await compileToStay(backend, forward, { name: `${segment.name} forward` }) };
  if (!backward) return compiled;
  const executable = await compileToStay(backend, backward.graph, { name: `${segment.name} backward`, keepsMemory: true });
  return { ...compiled, backward: { ...backward, executable } };
}

const inPrecision = (segment: Segment, precision: ProgramOptions["precision"]): Segment =>
  precision === "float16" ? { ...segment, graph: autocast(segment.graph) } : segment;

async function compileHead(
  { backend, precision, method, objective, objectiveConfig, reference, referenceTop }: ProgramOptions,
  { context, needsRowGradient, evaluates }: { context: SegmentContext; needsRowGradient: boolean; evaluates: boolean },
): Promise<CompiledHead> {
  const targetsOf = (build: SegmentBuilder, size: Dim) => ({
    ...{ build, config: objectiveConfig },
    labels: build.graph.input("labels", { dtype: "int64", shape: [size] }),
    weights: build.graph.input("weights", { dtype: "float32", shape: [size] }),
    target: (name: string, type: TensorType) => build.graph.input(name, type),
  });
  const finish = (build: SegmentBuilder, { lossSum, correct, targetLosses, predictions }: ObjectiveOutput): void => {
    build.graph.output("lossSum", lossSum);
    build.graph.output("correct", correct);
    build.graph.output("targetLosses", targetLosses);
    if (predictions && evaluates) build.graph.output("predictions", predictions);
  };
  const built =
    "readsLabels" in objective
      ? buildLabelHead(context, (logits, build) => {
          const labels = objective.labelsPer === "logits" ? logits.shape[0]! : dim("labels");
          finish(build, objective.build({ ...targetsOf(build, labels), logits }));
        })
      : buildHead(context, (head, build) => {
          const referenceLogits = reference && !evaluates ? buildReferenceLogits(reference, build.graph) : undefined;
          const top = referenceTop && !evaluates ? topInputs(build.graph, referenceTop.k) : undefined;
          finish(build, objective.build({ ...targetsOf(build, dim("rows")), head, referenceLogits, referenceTop: top }));
        });
  const segment = inPrecision(built, precision);
  const { graph } = segment;
  const lossSum = graph.outputs.get("lossSum")!;
  const outputs = new Map(graph.outputs);
  if (!evaluates) {
    const seed = graph.input("gradientScale", { dtype: "float32", shape: [] });
    const trained = [...segment.parameters].filter(([, { name }]) => method.trains(name));
    const pieces = [...new Map(segment.pieces)].filter(([, { spec }]) => method.trains(spec.name));
    const wrt = ["rows", ...trained.map(([local]) => local), ...pieces.map(([piece]) => piece)];
    const found = gradients({ graph, outputs: [{ value: lossSum, gradient: seed }], wrt: wrt.map((input) => graph.inputs.get(input)!) });
    const gradientOf = new Map(wrt.map((input, i) => [input, found[i]]));
    const ofRows = gradientOf.get("rows");
    if (needsRowGradient && ofRows) outputs.set("rows.gradient", ofRows);
    for (const [local, { name }] of trained) {
      const ofPieces = pieces
        .filter(([, { spec }]) => spec.name === name)
        .map(([piece]): [string, Value] => [piece, gradientOf.get(piece)!]);
      for (const [output, value] of gradientOutputs(local, gradientOf.get(local), ofPieces)) outputs.set(output, value);
    }
  }
  const joined = withoutUnread(scaleRowsLate(extract({ graph, inputs: new Map(), outputs })));
  return {
    segment,
    forwardGraph: joined,
    forward: await compileToStay(backend, joined, { name: evaluates ? "head evaluation" : "head training", toHost: headReport }),
  };
}

function topInputs(graph: Graph, k: number): ReferenceTop {
  const input = (name: string, type: TensorType): Value => graph.input(`referenceTop.${name}`, type);
  const rows = dim("rows");
  return {
    positions: input("positions", { dtype: "int64", shape: [rows, k] }),
    probabilities: input("probabilities", { dtype: "float32", shape: [rows, k] }),
    rest: input("rest", { dtype: "float32", shape: [rows] }),
    negativeEntropy: input("negativeEntropy", { dtype: "float32", shape: [rows] }),
  };
}
