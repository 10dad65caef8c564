/** Runs a model token by token with a cache of keys and values; one sequence at a time. */
import type { Backend, Executable, HostTensor } from "../backends/backend.ts";
import { BatchContexts, int64 } from "../execution/batch-context.ts";
import { type ParameterStore, storageIn } from "../execution/parameter-store.ts";
import type { AttachedMethod } from "../methods/method.ts";
import { logitsOf } from "../models/layers/vocabulary.ts";
import type { Model } from "../models/model.ts";
import { buildBlock, buildEmbedding, buildHead, buildPast, type Segment, type SegmentContext } from "../models/segments.ts";
import { namedTensors } from "../models/storage.ts";

export interface DecoderOptions {
  readonly backend: Backend;
  readonly model: Model;
  readonly method: AttachedMethod;
  readonly store: ParameterStore;
}

export interface Decoder {
  /** Takes the next tokens of the sequence (a prompt, then one token at a time). @returns logits of the last one, [V] */
  feed(ids: readonly number[]): Promise<Float32Array>;
  /** Tokens in the cache, virtual ones included even before the first are fed. */
  readonly length: number;
  /** Begins a new sequence. @param adapterId which of several stacked adapters acts, counted from 1; 0 is the base alone */
  reset(adapterId?: number): void;
}

interface LayerCache {
  readonly pastKey: HostTensor;
  readonly pastValue: HostTensor;
}

interface Compiled {
  readonly segment: Segment;
  readonly executable: Executable;
}

export async function createDecoder({ backend, model, method, store }: DecoderOptions): Promise<Decoder> {
  const context: SegmentContext = { model, chunks: 1, options: { hooks: [method.hooks], isTraining: false, storageOf: storageIn(store) } };
  const compile = async (segment: Segment): Promise<Compiled> => ({
    segment,
    executable: await backend.compile(segment.graph, { name: `${segment.name} decoding` }),
  });
  const embedding = await compile(buildEmbedding(context));
  const blocks: Compiled[] = [];
  for (let layer = 0; layer < model.numHiddenLayers; layer++) blocks.push(await compile(buildBlock(context, { layer, cached: true })));
  const head = await compile(buildHead(context, (head, build) => build.graph.output("logits", logitsOf(head, build))));
  const parameters = ({ segment }: Compiled): Record<string, HostTensor> =>
    Object.assign({}, ...[...segment.parameters].map(([local, { name }]) => namedTensors(local, store.parameters.get(name)!)));
  const run = (compiled: Compiled, inputs: Record<string, HostTensor>): Promise<Record<string, HostTensor>> => {
    const all: Record<string, HostTensor> = { ...inputs, ...parameters(compiled) };
    return compiled.executable.run(Object.fromEntries([...compiled.segment.graph.inputs.keys()].map((name) => [name, all[name]!])));
  };
  const contexts = new BatchContexts(model, backend);
  const C = model.hiddenSize;
  const start = await startOfCache({ model, context, compile, run });
  const virtual = method.virtualTokens?.count ?? 0;
  const placeholders = method.virtualTokens?.as === "embeddings" ? Array.from({ length: virtual }, (_, i) => model.vocabSize + i) : [];
  let cache = start;
  /** Tokens in the cache. */
  let length = virtual - placeholders.length;
  let adapterIds = int64(Int32Array.of(0), [1]);

  return {
    get length() {
      return Math.max(length, virtual);
    },
    reset(adapterId = 0) {
      adapterIds = int64(Int32Array.of(adapterId), [1]);
      cache = start;
      length = virtual - placeholders.length;
    },
    async feed(given) {
      const ids = length === 0 ? [...placeholders, ...given] : given;
      const tokens = ids.length;
      const positionIds = Int32Array.from(ids, (_, i) => length + i);
      const past = { tokens: length, documentIds: new Int32Array(length), positionIds: Int32Array.from({ length }, (_, i) => i) };
      const blockContext = await contexts.create({ batchSize: 1, tokens, documentIds: new Int32Array(tokens), positionIds, past }, 1);
      let hidden = (
        await run(embedding, { inputIds: int64(Int32Array.from(ids), [1, tokens]), positionIds: int64(positionIds, [1, tokens]) })
      ).hidden!;
      const next: LayerCache[] = [];
      for (const [layer, block] of blocks.entries()) {
        const outputs = await run(block, { ...blockContext(layer), adapterIds, hidden, ...cache[layer] });
        hidden = outputs.hidden!;
        next.push({ pastKey: outputs.presentKey!, pastValue: outputs.presentValue! });
      }
      cache = next;
      length += tokens;
      const last = (hidden.data as Float32Array).slice((tokens - 1) * C, tokens * C);
      const { logits } = await run(head, { rows: { dtype: "float32", dims: [1, C], data: last } });
      return logits!.data as Float32Array;
    },
  };
}

interface StartOptions {
  readonly model: Model;
  readonly context: SegmentContext;
  compile(segment: Segment): Promise<Compiled>;
  run(compiled: Compiled, inputs: Record<string, HostTensor>): Promise<Record<string, HostTensor>>;
}

/** What stands in the cache before any token: nothing, or the keys and values that a method puts there. */
async function startOfCache({ model, context, compile, run }: StartOptions): Promise<LayerCache[]> {
  const nothing: HostTensor = { dtype: "float32", dims: [1, model.numKeyValueHeads, 0, model.headDim], data: new Float32Array(0) };
  const layers: LayerCache[] = [];
  for (let layer = 0; layer < model.numHiddenLayers; layer++) {
    const past = buildPast(context, { layer });
    if (!past) layers.push({ pastKey: nothing, pastValue: nothing });
    else {
      const { pastKey, pastValue } = await run(await compile(past), {});
      layers.push({ pastKey: pastKey!, pastValue: pastValue! });
    }
  }
  return layers;
}
