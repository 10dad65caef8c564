/** A frozen model on batches, from tokens to the hidden states that its head reads. */
import type { Backend, HostTensor, Tensor } from "../backends/backend.ts";
import type { Batch } from "../data/batch.ts";
import { createPassMemory } from "./create-pass-memory.ts";
import { chunksOf, createContexts, type ModelContexts, ModelPass } from "./model-pass.ts";
import { compileToStay, type PassMemory } from "./pass-memory.ts";
import type { ReferenceModel } from "./reference-model.ts";
import { type Body, compileBody, segmentsOf } from "./training-program.ts";
import { withVirtualTokens } from "./virtual-tokens.ts";
import { Workspace } from "./workspace.ts";

export interface ReferenceResult {
  /** After the last block [B, T', C']; the caller releases it. */
  readonly hidden: Tensor;
  /** [N]: rows of the targets, flat over B * T'. */
  readonly positions: Int32Array;
}

export class ReferencePass {
  readonly reference: ReferenceModel;
  readonly #backend: Backend;
  readonly #contexts: ModelContexts;
  readonly #memory: PassMemory;
  /** By the numbers of chunks. */
  readonly #bodies = new Map<string, Promise<Body>>();

  constructor(reference: ReferenceModel, backend: Backend) {
    this.reference = reference;
    this.#backend = backend;
    this.#contexts = createContexts(reference.model, (graph, named) => compileToStay(backend, graph, named));
    this.#memory = createPassMemory(backend, new Workspace());
  }

  async forward(given: Batch): Promise<ReferenceResult> {
    const { model, method, store } = this.reference;
    const { batch, layout } = withVirtualTokens(given, model, method);
    const chunks = chunksOf(batch);
    const key = JSON.stringify(chunks);
    const body = this.#bodies.get(key) ?? compileBody({ ...this.reference, backend: this.#backend }, chunks);
    this.#bodies.set(key, body);
    const own = { contexts: this.#contexts, store, memory: this.#memory };
    const pass = new ModelPass({ ...own, batch, layout, chunks, program: await body, seed: 0 });
    return { hidden: await pass.forward(false), positions: batch.targetPositions };
  }

  /** The same in the host's memory. */
  async forwardToHost(given: Batch): Promise<ReferenceResult & { readonly hidden: HostTensor }> {
    const { hidden, positions } = await this.forward(given);
    const onHost = await this.#memory.toHost(hidden);
    this.#memory.release(hidden);
    return { hidden: onHost, positions };
  }

  async dispose(): Promise<void> {
    for (const { encoder, trunk } of await Promise.all(this.#bodies.values())) {
      const segments = [encoder, trunk].flatMap((stack) => (stack ? segmentsOf(stack) : []));
      for (const { forward } of segments) await forward.dispose();
    }
    this.#bodies.clear();
    await this.#memory.dispose();
  }
}
