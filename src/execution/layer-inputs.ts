/** What the linear layers of a model read from batches of data: forward passes whose graphs give the inputs of the layers, too. */
import type { Backend } from "../backends/backend.ts";
import type { Batch, TokenRows } from "../data/batch.ts";
import type { ObservedInputs } from "../methods/method.ts";
import type { Model, Stack } from "../models/model.ts";
import type { ModelHooks } from "../models/segment-builder.ts";
import { buildBlock, buildEmbedding, buildPositionBias, type LinearModule, type Segment, type SegmentContext } from "../models/segments.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { extract } from "../tensor/passes/extract.ts";
import { createPassMemory } from "./create-pass-memory.ts";
import { chunksOf, createContexts, type ModelContexts, ModelPass } from "./model-pass.ts";
import type { Body, Chunks, CompiledSegment, Trunk } from "./training-program.ts";
import { type ParameterStore, storageIn } from "./weights/parameter-store.ts";
import { Workspace } from "./workspace.ts";

export interface LayerInputsOptions {
  readonly backend: Backend;
  readonly model: Model;
  readonly store: Pick<ParameterStore, "parameters">;
  readonly linears: readonly LinearModule[];
  /** At least one; taken again and again. */
  readonly batches: readonly Batch[];
}

/** Where the values of a group are after a pass. */
interface Place {
  readonly modules: readonly LinearModule[];
  readonly slot: string;
  /** True for layers of the encoder, and those of its decoder that read what the encoder made. */
  readonly readsSource: boolean;
}

interface Compiled {
  readonly body: Body;
  readonly places: readonly Place[];
}

export async function observeInputs({ backend, model, store, linears, batches }: LayerInputsOptions): Promise<ObservedInputs> {
  const byModule = new Map(linears.map((linear) => [linear.module, linear]));
  const compiled = new Map<string, Promise<Compiled>>();
  const compile = (chunks: Chunks): Promise<Compiled> => {
    const key = JSON.stringify(chunks);
    if (!compiled.has(key)) compiled.set(key, compileBody({ backend, model, store, byModule }, chunks));
    return compiled.get(key)!;
  };
  const contexts = createContexts(model, backend.compile);
  const workspace = new Workspace();
  const { places } = await compile(chunksOf(batches[0]!));
  return {
    groups: places.map(({ modules }) => modules),
    batchesInRound: batches.length,
    async *batches(tokens) {
      for (;;) for (const batch of batches) yield await read(batch, { compile, model, contexts, store, workspace, tokens });
    },
  };
}

interface CompileOptions {
  readonly backend: Backend;
  readonly model: Model;
  readonly store: Pick<ParameterStore, "parameters">;
  readonly byModule: ReadonlyMap<string, LinearModule>;
}

async function compileBody(options: CompileOptions, chunks: Chunks): Promise<Compiled> {
  const { model } = options;
  const encoder = model.encoder && (await compileStack(options, { stack: model.encoder, chunks: chunks.encoder!, inEncoder: true }));
  const trunk = await compileStack(options, { stack: model, chunks: chunks.trunk, inEncoder: false });
  return {
    body: { ...(encoder && { encoder: encoder.trunk }), trunk: trunk.trunk },
    places: [...(encoder?.places ?? []), ...trunk.places],
  };
}

interface StackOptions {
  readonly stack: Stack;
  readonly chunks: number;
  readonly inEncoder: boolean;
}

async function compileStack(
  { backend, model, store, byModule }: CompileOptions,
  { stack, chunks, inEncoder }: StackOptions,
): Promise<{ trunk: Trunk; places: Place[] }> {
  const places: Place[] = [];
  const contextWith = (hooks: readonly ModelHooks[]): SegmentContext => ({
    ...{ model, stack, chunks },
    options: { hooks, isTraining: false, storageOf: storageIn(store), isFrozen: () => true },
  });
  const compileGraph = async (segment: Segment, forwardGraph: Graph): Promise<CompiledSegment> => ({
    ...{ segment, forwardGraph },
    forward: await backend.compile(forwardGraph, { name: `${segment.name} inputs` }),
  });
  const compile = async (index: number, build: (context: SegmentContext) => Segment): Promise<CompiledSegment> => {
    const readers = new Map<Value, LinearModule[]>();
    const recorder: ModelHooks = {
      linear({ module, input, output }) {
        const linear = byModule.get(module);
        if (linear) readers.set(input, [...(readers.get(input) ?? []), linear]);
        return output;
      },
    };
    const segment = build(contextWith([recorder]));
    const outputs = new Map(segment.graph.outputs);
    for (const [i, [value, modules]] of [...readers].entries()) {
      outputs.set(`input.${i}`, value);
      const readsSource = inEncoder || value === segment.graph.inputs.get("encoderHidden");
      places.push({ modules, slot: `${inEncoder ? "encoder." : ""}input.${i}.${index}`, readsSource });
    }
    return compileGraph(segment, extract({ graph: segment.graph, inputs: new Map(), outputs }));
  };
  const embedding = await compile(0, buildEmbedding);
  const bias = buildPositionBias(contextWith([]));
  const positionBias = bias && (await compileGraph(bias, bias.graph));
  const blocks: CompiledSegment[] = [];
  for (let layer = 0; layer < stack.numHiddenLayers; layer++)
    blocks.push(await compile(layer + 1, (context) => buildBlock(context, { layer })));
  return { trunk: { stack, embedding, ...(positionBias && { positionBias }), blocks }, places };
}

interface ReadOptions {
  compile(chunks: Chunks): Promise<Compiled>;
  readonly model: Model;
  readonly contexts: ModelContexts;
  readonly store: Pick<ParameterStore, "parameters">;
  readonly workspace: Workspace;
  readonly tokens: "supervised" | "all";
}

async function read(batch: Batch, { compile, model, contexts, store, workspace, tokens }: ReadOptions): Promise<Float32Array[]> {
  const chunks = chunksOf(batch);
  const { body, places } = await compile(chunks);
  await new ModelPass({
    batch,
    layout: batch,
    program: body,
    chunks,
    seed: 0,
    contexts,
    store,
    memory: createPassMemory({}, workspace),
  }).forward(true);
  const chosen = { encoder: batch.encoder && tokensOf(batch.encoder), trunk: tokens === "all" ? tokensOf(batch) : labelled(batch, model) };
  return places.map(({ modules, slot, readsSource }) => {
    const { tokens: T } = readsSource ? batch.encoder! : batch;
    const width = modules[0]!.inFeatures;
    const values = workspace.float32(slot, [batch.batchSize, T, width]).data as Float32Array;
    return rowsAt(values, { rows: readsSource ? chosen.encoder! : chosen.trunk, width });
  });
}

/** Every token that is not padding. */
const tokensOf = ({ documentIds }: TokenRows): number[] => [...documentIds.keys()].filter((i) => documentIds[i]! >= 0);

/** Tokens that have a label, as PEFT's mask has them: not the positions before, which predict the next token. Where labels are about whole
 * documents, every token counts. */
function labelled(batch: Batch, { labelHead, encoder, maskKind }: Model): number[] {
  if (labelHead && labelHead.pools !== "all") return tokensOf(batch);
  const predictsNext = !labelHead && !encoder && !maskKind(0).isBidirectional;
  return Array.from(batch.targetPositions, (position) => position + Number(predictsNext));
}

function rowsAt(values: Float32Array, { rows, width }: { rows: readonly number[]; width: number }): Float32Array {
  const chosen = new Float32Array(rows.length * width);
  rows.forEach((row, i) => chosen.set(values.subarray(row * width, (row + 1) * width), i * width));
  return chosen;
}
