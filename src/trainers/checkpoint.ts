/** What a training checkpoint holds, and how the latest and the best are kept. */
import type { Folder } from "../base/byte-source.ts";
import type { FolderShelf } from "../base/folder-shelf.ts";
import type { EngineState, TrainedWeights } from "../execution/engine.ts";
import { bytesOf, toFloat32 } from "../models/weights/element-types.ts";
import { encodeSafetensors, openSafetensors, readTensor, type TensorToWrite } from "../models/weights/safetensors.ts";
import type { LossScale } from "./loss-scale.ts";

/** Where a run stands; with the engine's state it is all that a resumed run needs. */
export interface TrainerState {
  /** Optimizer steps done. */
  readonly step: number;
  readonly epoch: number;
  /** Micro-batches of this epoch already used. */
  readonly batchIndex: number;
  /** Lowest validation loss so far, and the step it was reached at. */
  readonly best: { readonly step: number; readonly loss: number } | null;
  /** Evaluations since the best, for early stopping; since the last reduction, for the plateau rule. */
  readonly evaluationsWithoutGain: number;
  readonly evaluationsOnPlateau: number;
  /** Factor that the plateau rule has put on the learning rate. */
  readonly plateauFactor: number;
  /** Mean losses of the latest steps, for noticing divergence. */
  readonly recentLosses: readonly number[];
  readonly lowestRecent: number | null;
  /** Where gradients pass through float16. */
  readonly lossScale?: LossScale | undefined;
}

export interface TrainingCheckpoint {
  readonly trainer: TrainerState;
  readonly engine: EngineState;
  /** Of the weights, where one is kept. */
  readonly average?: ReadonlyMap<string, Float32Array> | undefined;
}

/** Keeps the latest checkpoints and the best one. Saving is all or nothing. */
export interface CheckpointStore {
  save(checkpoint: TrainingCheckpoint): Promise<void>;
  /** The newest that is whole, or undefined. */
  latest(): Promise<TrainingCheckpoint | undefined>;
  read(step: number): Promise<TrainingCheckpoint>;
  /** The trained weights one by one, so that no second copy of them all is in memory. */
  readWeights(step: number): AsyncIterable<TrainedWeights>;
}

export interface CheckpointStoreOptions {
  readonly shelf: FolderShelf;
  /** How many of the latest to keep, 1 or more, beside the best. */
  readonly keepLast: number;
  onWarning?(message: string): void;
}

const prefix = "checkpoint-";
const stateFile = "state.safetensors";

/** Folders `checkpoint-<step>` with trainer.json and state.safetensors. */
export function createCheckpointStore({ shelf, keepLast, onWarning = () => {} }: CheckpointStoreOptions): CheckpointStore {
  const steps = async (): Promise<number[]> => {
    const names = await shelf.list();
    return names
      .filter((name) => name.startsWith(prefix))
      .map((name) => Number(name.slice(prefix.length)))
      .sort((a, b) => b - a);
  };
  const read = async (step: number): Promise<TrainingCheckpoint> => decode(await shelf.open(`${prefix}${step}`));
  return {
    async save(checkpoint) {
      const { trainer } = checkpoint;
      await shelf.write(`${prefix}${trainer.step}`, {
        [stateFile]: encodeState(checkpoint),
        "trainer.json": JSON.stringify(trainer, null, 2),
      });
      const old = (await steps()).filter((step) => step !== trainer.best?.step && step !== trainer.step);
      for (const step of old.slice(keepLast - 1)) await shelf.remove(`${prefix}${step}`);
    },
    async latest() {
      for (const step of await steps()) {
        try {
          return await read(step);
        } catch (error) {
          onWarning(`${prefix}${step} cannot be used and was passed over: ${(error as Error).message}`);
        }
      }
      return undefined;
    },
    read,
    async *readWeights(step) {
      const file = await openSafetensors(await (await shelf.open(`${prefix}${step}`)).open(stateFile));
      for (const [key, entry] of file.tensors) {
        if (!key.startsWith("parameter.")) continue;
        const data = toFloat32({ name: key, dtype: entry.dtype, bytes: await readTensor(file, entry) });
        yield new Map([[key.slice("parameter.".length), { shape: entry.shape, data }]]);
      }
    },
  };
}

async function* encodeState({ engine: { parameters, optimizer }, average }: TrainingCheckpoint): AsyncGenerator<Uint8Array> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { shape, data }] of parameters)
    tensors.set(`parameter.${name}`, { dtype: "F32", shape, read: async () => bytesOf(data) });
  for (const [name, data] of optimizer) tensors.set(`optimizer.${name}`, vector(data));
  for (const [name, data] of average ?? []) tensors.set(`average.${name}`, vector(data));
  yield* encodeSafetensors(tensors, { format: "tunesmith" });
}

const vector = (data: Float32Array | Uint8Array): TensorToWrite => ({
  dtype: data instanceof Uint8Array ? "U8" : "F32",
  shape: [data.length],
  read: async () => bytesOf(data),
});

async function decode(folder: Folder): Promise<TrainingCheckpoint> {
  const trainer = JSON.parse(await folder.readText("trainer.json")) as TrainerState;
  const file = await openSafetensors(await folder.open(stateFile));
  const parameters = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  const optimizer = new Map<string, Float32Array | Uint8Array>();
  const average = new Map<string, Float32Array>();
  for (const [key, entry] of file.tensors) {
    const bytes = await readTensor(file, entry);
    const values = () => toFloat32({ name: key, dtype: entry.dtype, bytes });
    const name = key.slice(key.indexOf(".") + 1);
    if (key.startsWith("parameter.")) parameters.set(name, { shape: entry.shape, data: values() });
    else if (key.startsWith("average.")) average.set(name, values());
    else optimizer.set(name, entry.dtype === "U8" ? bytes : values());
  }
  return { trainer, engine: { parameters, optimizer }, ...(average.size > 0 && { average }) };
}
