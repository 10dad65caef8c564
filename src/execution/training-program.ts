/**
 * The compiled segments of a model under training, for one number of query chunks: forward and backward of every block,
 * and the head with its objective, forward and backward in one. Blocks with equal graphs share one executable.
 */
import type { Backend, Executable } from "../backends/backend.ts";
import type { AttachedMethod } from "../methods/method.ts";
import type { CausalLm } from "../models/causal-lm.ts";
import type { ModelHooks } from "../models/segment-builder.ts";
import { buildBlock, buildEmbedding, buildHead, type Segment, type SegmentContext } from "../models/segments.ts";
import type { Objective } from "../objectives/objective.ts";
import { gradients } from "../tensor/autodiff.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { extract } from "../tensor/passes/extract.ts";
import { mergeProducts } from "../tensor/passes/merge-products.ts";
import { dim } from "../tensor/shape.ts";
import { differentiateSegment } from "./differentiate-segment.ts";
import { buildReferenceLogits, type ReferenceModel } from "./reference-model.ts";

export interface ProgramOptions {
  readonly backend: Backend;
  readonly model: CausalLm;
  readonly method: AttachedMethod;
  /** Regularisers, after the method's own hooks. Left out of evaluation. */
  readonly regularisers: readonly ModelHooks[];
  readonly objective: Objective;
  readonly objectiveConfig: unknown;
  readonly activationCheckpointing: "none" | "block";
  /** The frozen model that the objective compares with, where it does. */
  readonly reference?: ReferenceModel | undefined;
  dtypeOf(parameter: string): DType;
}

export interface CompiledSegment {
  readonly segment: Segment;
  readonly forward: Executable;
  readonly forwardGraph: Graph;
  readonly backward?: { readonly executable: Executable; readonly graph: Graph; readonly kept: readonly string[] };
}

/** From token ids to the last hidden state. */
export interface Trunk {
  readonly embedding: CompiledSegment;
  readonly blocks: readonly CompiledSegment[];
}

export interface TrainingProgram extends Trunk {
  /** rows, labels, weights, gradientScale (, referenceRows) -> lossSum, correct, targetLosses (, rows.gradient, gradient.*). */
  readonly head: CompiledSegment;
}

export async function compileTraining(options: ProgramOptions, chunks: number): Promise<TrainingProgram> {
  const { backend, model, method } = options;
  const context = segmentContext(options, { chunks, isTraining: true });
  const trains = (name: string): boolean => method.trains(name);
  const keepNothing = options.activationCheckpointing === "block";

  const embeddingSegment = buildEmbedding(context);
  let reached = trainsAny(embeddingSegment, trains);
  const embedding = await compileSegment(backend, { segment: embeddingSegment, trains, needsInputGradient: false, keepNothing });
  const blocks: CompiledSegment[] = [];
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const segment = buildBlock(context, { layer, cached: false });
    blocks.push(await compileSegment(backend, { segment, trains, needsInputGradient: reached, keepNothing }));
    reached ||= trainsAny(segment, trains);
  }
  return { embedding, blocks, head: await compileHead(options, { context, needsRowGradient: reached, evaluates: false }) };
}

/** The same segments without gradients and regularisers. */
export async function compileEvaluation(options: ProgramOptions, chunks: number): Promise<TrainingProgram> {
  const context = segmentContext(options, { chunks, isTraining: false });
  return {
    ...(await compileTrunk(options, chunks)),
    head: await compileHead(options, { context, needsRowGradient: false, evaluates: true }),
  };
}

/** Forward only, without regularisers and head. */
export async function compileTrunk(
  options: Pick<ProgramOptions, "backend" | "model" | "method" | "dtypeOf">,
  chunks: number,
): Promise<Trunk> {
  const { backend, model } = options;
  const context = segmentContext({ ...options, regularisers: [] }, { chunks, isTraining: false });
  const nothing = { trains: () => false, needsInputGradient: false, keepNothing: true };
  const embedding = await compileSegment(backend, { segment: buildEmbedding(context), ...nothing });
  const blocks: CompiledSegment[] = [];
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    blocks.push(await compileSegment(backend, { segment: buildBlock(context, { layer, cached: false }), ...nothing }));
  }
  return { embedding, blocks };
}

function segmentContext(
  { model, method, regularisers, dtypeOf }: Pick<ProgramOptions, "model" | "method" | "regularisers" | "dtypeOf">,
  { chunks, isTraining }: { chunks: number; isTraining: boolean },
): SegmentContext {
  return { model, chunks, options: { hooks: [method.hooks, ...(isTraining ? regularisers : [])], isTraining, dtypeOf } };
}

const trainsAny = (segment: Segment, trains: (name: string) => boolean): boolean =>
  [...segment.parameters.values()].some(({ name }) => trains(name));

async function compileSegment(backend: Backend, options: Parameters<typeof differentiateSegment>[0]): Promise<CompiledSegment> {
  const segment = { ...options.segment, graph: mergeProducts(options.segment.graph) };
  const { forward, backward } = differentiateSegment({ ...options, segment });
  const compiled = { segment, forwardGraph: forward, forward: await backend.compile(forward, { name: `${segment.name} forward` }) };
  if (!backward) return compiled;
  const executable = await backend.compile(backward.graph, { name: `${segment.name} backward` });
  return { ...compiled, backward: { ...backward, executable } };
}

async function compileHead(
  { backend, method, objective, objectiveConfig, reference }: ProgramOptions,
  { context, needsRowGradient, evaluates }: { context: SegmentContext; needsRowGradient: boolean; evaluates: boolean },
): Promise<CompiledSegment> {
  let lossSum: Value | undefined;
  const segment = buildHead(context, (head, build) => {
    const labels = build.graph.input("labels", { dtype: "int64", shape: [dim("rows")] });
    const weights = build.graph.input("weights", { dtype: "float32", shape: [dim("rows")] });
    const referenceLogits = reference && !evaluates ? buildReferenceLogits(reference, build.graph) : undefined;
    const output = objective.build({ head, labels, weights, referenceLogits, build, config: objectiveConfig });
    build.graph.output("lossSum", output.lossSum);
    build.graph.output("correct", output.correct);
    build.graph.output("targetLosses", output.targetLosses);
    lossSum = output.lossSum;
  });
  const { graph } = segment;
  const outputs = new Map(graph.outputs);
  if (!evaluates) {
    const seed = graph.input("gradientScale", { dtype: "float32", shape: [] });
    const targets = new Map<string, Value>();
    if (needsRowGradient) targets.set("rows.gradient", graph.inputs.get("rows")!);
    for (const [local, spec] of segment.parameters)
      if (method.trains(spec.name)) targets.set(`gradient.${local}`, graph.inputs.get(local)!);
    const found = gradients({ graph, outputs: [{ value: lossSum!, gradient: seed }], wrt: [...targets.values()] });
    [...targets.keys()].forEach((name, i) => found[i] && outputs.set(name, found[i]));
  }
  const joined = extract({ graph, inputs: new Map(), outputs });
  return {
    segment,
    forwardGraph: joined,
    forward: await backend.compile(joined, { name: evaluates ? "head evaluation" : "head training" }),
  };
}
