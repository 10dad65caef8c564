/** The head on the rows of a batch that have targets: in chunks, so that logits stay small, forward and backward in one. */
import type { HostTensor, Tensor } from "../backends/backend.ts";
import type { Batch } from "../data/batch.ts";
import { int64 } from "./batch-context.ts";
import type { StepResult } from "./engine.ts";
import { headSeed } from "./model-pass.ts";
import { denseGradientOf, type GradientPlace, type GradientSink } from "./parameter-gradients.ts";
import type { PassMemory, RowsGradient } from "./pass-memory.ts";
import { referenceInputs } from "./reference-model.ts";
import type { ReferenceResult } from "./reference-pass.ts";
import { only, parameterInputs } from "./stack-pass.ts";
import { type TopPredictions, topTensors } from "./top-predictions.ts";
import { type CompiledHead, headReport, type ProgramOptions } from "./training-program.ts";

/** Bytes of logits that the head may hold at once; more targets than fit are taken in several calls. */
const logitBytes = 24 * 1024 ** 2;
/** Where the vocabulary is trained, every call gives a gradient of the matrix's size, so that few calls are worth more memory. */
const trainedLogitBytes = 100 * 1024 ** 2;

/** A head that takes a frozen vocabulary in pieces holds the logits of one piece at a time. */
export function rowsAtOnce({ segment, forwardGraph }: CompiledHead, vocabSize: number): number {
  const pieces = new Map(segment.pieces);
  const isOfVocabulary = (local: string): boolean => pieces.has(local) || segment.parameters.get(local)?.shape[0] === vocabSize;
  const givesMatrix = [...forwardGraph.outputs.keys()].some((name) => isOfVocabulary(denseGradientOf(name) ?? ""));
  const widest = pieces.size > 0 ? Math.max(...[...pieces.values()].map(({ start, end }) => end - start)) : vocabSize;
  const [bytes, width] = givesMatrix ? [trainedLogitBytes, vocabSize] : [logitBytes, widest];
  return Math.max(32, Math.floor(bytes / (4 * width)));
}

export interface HeadPassOptions extends Pick<ProgramOptions, "model" | "objective" | "reference"> {
  readonly store: Parameters<typeof parameterInputs>[2]["store"];
  readonly referenceTop?: TopPredictions | undefined;
  readonly memory: PassMemory;
  readonly gradients: GradientSink;
}

export interface HeadCall {
  readonly head: CompiledHead;
  readonly batch: Batch;
  /** [B, T, C]. */
  readonly hidden: Tensor;
  readonly reference?: ReferenceResult | undefined;
  /** Rows of the reference's likeliest predictions, [N]. */
  readonly topNumbers?: Int32Array | undefined;
  /** Both are absent when evaluating. */
  readonly gradientScale?: number;
  readonly seed?: number;
}

export interface HeadResult {
  readonly result: StepResult;
  readonly perTarget: Float32Array;
  readonly predictions?: Float32Array | undefined;
  /** Of the hidden state, where training. */
  readonly hiddenGradient?: Tensor | undefined;
}

export class HeadPass {
  readonly #options: HeadPassOptions;

  constructor(options: HeadPassOptions) {
    this.#options = options;
  }

  async run(call: HeadCall): Promise<HeadResult> {
    const { batch, head, hidden } = call;
    const { model, objective, memory } = this.#options;
    const N = batch.targetPositions.length;
    // Labels are few and may belong to several rows, so that a head for them takes the whole batch at once.
    const most = "readsLabels" in objective ? N : rowsAtOnce(head, model.vocabSize);
    const perTarget = new Float32Array(batch.targetLabels.length);
    const training = call.gradientScale !== undefined;
    const rowsGradient = training ? memory.rowsGradient(hidden) : undefined;
    let predictions: Float32Array | undefined;
    let [lossSum, correct, tokens] = [0, 0, 0];
    for (let start = 0; start < N; start += most) {
      const piece = this.#piece(batch, { start, end: Math.min(N, start + most) });
      const outputs = await this.#runPiece(call, { piece, rowsGradient });
      const floats = (name: string) => (outputs[name] as HostTensor | undefined)?.data as Float32Array | undefined;
      lossSum += floats("lossSum")![0]!;
      perTarget.set(floats("targetLosses")!, start);
      predictions = floats("predictions");
      const hits = floats("correct")!;
      for (const [i, weight] of piece.weights.entries()) {
        if (weight === 0) continue;
        tokens++;
        correct += hits[i]!;
      }
    }
    return { result: { lossSum, correct, tokens }, perTarget, predictions, hiddenGradient: await rowsGradient?.finish() };
  }

  #piece(batch: Batch, { start, end }: { start: number; end: number }): HeadPiece {
    const labels = "readsLabels" in this.#options.objective ? batch.targetLabels : batch.targetLabels.subarray(start, end);
    const weights = batch.targetWeights?.slice(start, start + labels.length) ?? new Float32Array(labels.length).fill(1);
    return { start, end, labels, weights, positions: batch.targetPositions.subarray(start, end) };
  }

  /** Gradients go where they belong. @returns what the head reports */
  async #runPiece(
    { head, batch, hidden, reference, topNumbers, gradientScale, seed = 0 }: HeadCall,
    { piece, rowsGradient }: { piece: HeadPiece; rowsGradient: RowsGradient | undefined },
  ): Promise<Record<string, Tensor>> {
    const { memory, store, gradients, model } = this.#options;
    const { start, end, labels, weights, positions } = piece;
    const rows = await memory.gatherRows("head.rows", hidden, positions);
    const inputs: Record<string, Tensor> = {
      ...(await parameterInputs(head, head.forwardGraph, { store, memory })),
      ...headTargets(batch),
      rows,
      seed: { dtype: "int64", dims: [], data: BigInt64Array.of(headSeed({ seed, start })) },
      labels: int64(labels, [labels.length]),
      weights: { dtype: "float32", dims: [labels.length], data: weights },
      ...(gradientScale !== undefined && { gradientScale: { dtype: "float32" as const, dims: [], data: Float32Array.of(gradientScale) } }),
      ...(reference && (await this.#referenceInputs(head, { reference, start, end }))),
    };
    if (topNumbers) {
      const top = await this.#options.referenceTop!.read(topNumbers.subarray(start, end));
      Object.assign(inputs, topTensors(top, { n: end - start, vocabSize: model.vocabSize }));
    }
    const placeOf = (local: string): GradientPlace => placeIn(head, local);
    const given: Record<string, HostTensor> = {};
    for (const name of head.forwardGraph.outputs.keys()) {
      const local = denseGradientOf(name);
      const target = local === undefined ? undefined : gradients.target(placeOf(local));
      if (target) given[name] = target;
    }
    const { "rows.gradient": ofRows, ...outputs } = await head.forward.run(only(inputs, head.forwardGraph), given);
    for (const used of [rows, inputs.referenceRows]) if (used) memory.release(used);
    if (ofRows) {
      await rowsGradient!.add(ofRows, positions);
      memory.release(ofRows);
    }
    const ofParameters = Object.fromEntries(Object.entries(outputs).filter(([name]) => !headReport.has(name)));
    if (rowsGradient) await gradients.addAll(ofParameters, placeOf);
    return outputs;
  }

  async #referenceInputs(
    { forwardGraph }: CompiledHead,
    { reference, start, end }: { reference: ReferenceResult; start: number; end: number },
  ): Promise<Record<string, Tensor>> {
    const { memory } = this.#options;
    const inputs: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(referenceInputs(this.#options.reference!, forwardGraph)))
      inputs[name] = await memory.resident(name, tensor);
    inputs.referenceRows = await memory.gatherRows("head.referenceRows", reference.hidden, reference.positions.subarray(start, end));
    return inputs;
  }
}

function placeIn({ segment }: CompiledHead, local: string): GradientPlace {
  const piece = segment.pieces?.get(local);
  return piece ? { parameter: piece.spec.name, rows: piece } : { parameter: segment.parameters.get(local)!.name };
}

/** Targets that one call of the head takes. */
interface HeadPiece {
  readonly start: number;
  readonly end: number;
  readonly labels: Int32Array;
  readonly weights: Float32Array;
  readonly positions: Int32Array;
}

/** What a batch holds for the objective beside labels. */
const headTargets = ({ targets = {} }: Batch): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.entries(targets).map(([name, { dims, data }]) => [
      name,
      data instanceof Int32Array ? int64(data, dims) : { dtype: "float32" as const, dims, data },
    ]),
  );
