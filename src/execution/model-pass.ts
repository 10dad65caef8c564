/** One batch on its way through a whole model without its head: through the encoder where there is one, then through the stack under the head. */
import type { Tensor } from "../backends/backend.ts";
import type { Batch, TokenRows } from "../data/batch.ts";
import type { Model } from "../models/model.ts";
import { BatchContexts, type CompileMasks, chooseChunks, type SequenceLayout } from "./batch-context.ts";
import type { GradientSink } from "./parameter-gradients.ts";
import type { PassMemory, PassStore } from "./pass-memory.ts";
import { StackPass } from "./stack-pass.ts";
import type { Body, Chunks } from "./training-program.ts";

export interface ModelPassOptions {
  readonly batch: Batch;
  readonly layout: SequenceLayout;
  readonly program: Body;
  readonly chunks: Chunks;
  readonly seed: number;
  readonly contexts: ModelContexts;
  readonly store: PassStore;
  readonly memory: PassMemory;
}

/** What the blocks of each stack read beside hidden states. */
export interface ModelContexts {
  readonly encoder?: BatchContexts;
  readonly trunk: BatchContexts;
}

export const createContexts = (model: Model, compileMasks: CompileMasks): ModelContexts => ({
  ...(model.encoder && { encoder: new BatchContexts(model.encoder, compileMasks) }),
  trunk: new BatchContexts(model, compileMasks),
});

export const chunksOf = ({ tokens, encoder }: Batch): Chunks => ({
  trunk: chooseChunks(tokens),
  ...(encoder && { encoder: chooseChunks(encoder.tokens) }),
});

/** Streams of random numbers stay apart, in every step: those of the encoder's segments begin here, and the head's are behind all. */
const [stepStreams, encoderStream, headStream] = [65_537n, 32_768n, 65_536n];

/** The head's seed for the rows of a batch from `start` on. */
export const headSeed = ({ seed, start }: { seed: number; start: number }): bigint =>
  BigInt(seed) * stepStreams + headStream + BigInt(start) * 15_485_863n;

export class ModelPass {
  readonly #options: ModelPassOptions;
  #encoder: StackPass | undefined;
  #trunk: StackPass | undefined;
  #encoderHidden: Tensor | undefined;

  constructor(options: ModelPassOptions) {
    this.#options = options;
  }

  /** @returns hidden state under the head [B, T, C], which the caller releases */
  async forward(holds: boolean): Promise<Tensor> {
    const { batch, layout, program, chunks, contexts, ...shared } = this.#options;
    const { batchSize, encoder } = batch;
    const seed = BigInt(shared.seed) * stepStreams;
    if (program.encoder) {
      const rows: TokenRows = encoder!;
      const context = await contexts.encoder!.create({ ...rows, batchSize }, chunks.encoder!);
      const own = { rows, context, chunks: chunks.encoder!, trunk: program.encoder, slots: "encoder.", seed: seed + encoderStream };
      this.#encoder = new StackPass({ ...shared, ...own, batchSize });
    }
    const encoderHidden = await this.#encoder?.forward(holds);
    const context = await contexts.trunk.create({ ...layout, ...(encoder && { encoder }) }, chunks.trunk);
    const own = { rows: batch, context, chunks: chunks.trunk, trunk: program.trunk, slots: "", seed, encoderHidden };
    this.#trunk = new StackPass({ ...shared, ...own, batchSize });
    this.#encoderHidden = encoderHidden;
    const hidden = await this.#trunk.forward(holds);
    if (!holds) this.#releaseEncoder();
    return hidden;
  }

  /** What the blocks under the head gave beside their hidden states, summed over them; the caller takes them over. */
  get sideOutputs(): ReadonlyMap<string, Tensor> {
    return this.#trunk!.sideOutputs;
  }

  /** From the gradient of the hidden state, which is used up, and those of `sideOutputs` to those of the parameters. */
  async backward(gradient: Tensor, sink: GradientSink, ofSides: Readonly<Record<string, Tensor>> = {}): Promise<void> {
    const encoderGradient = await this.#trunk!.backward(gradient, sink, ofSides);
    this.#releaseEncoder();
    if (encoderGradient) await this.#encoder!.backward(encoderGradient, sink);
  }

  #releaseEncoder(): void {
    if (this.#encoderHidden) this.#options.memory.release(this.#encoderHidden);
    this.#encoderHidden = undefined;
  }
}
