/** What a training checkpoint holds, and how the latest and the best are kept. */
import type { Folder } from "../base/byte-source.ts";
import type { FolderShelf } from "../base/folder-shelf.ts";
import type { EngineState } from "../execution/engine.ts";
import { bytesOf, toFloat32 } from "../models/weights/element-types.ts";
import { encodeSafetensors, openSafetensors, readTensor, type TensorToWrite } from "../models/weights/safetensors.ts";

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
}

export interface TrainingCheckpoint {
  readonly trainer: TrainerState;
  readonly engine: EngineState;
}

/** Keeps the latest checkpoints and the best one. Saving is all or nothing. */
export interface CheckpointStore {
  save(checkpoint: TrainingCheckpoint): Promise<void>;
  /** The newest that is whole, or undefined. */
  latest(): Promise<TrainingCheckpoint | undefined>;
  read(step: number): Promise<TrainingCheckpoint>;
}

export interface CheckpointStoreOptions {
  readonly shelf: FolderShelf;
  /** How many of the latest to keep, 1 or more, beside the best. */
  readonly keepLast: number;
  onWarning?(message: string): void;
}

const prefix = "checkpoint-";

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
    async save({ trainer, engine }) {
      await shelf.write(`${prefix}${trainer.step}`, {
        "state.safetensors": encodeState(engine),
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
  };
}

async function* encodeState({ parameters, optimizer }: EngineState): AsyncGenerator<Uint8Array> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { shape, data }] of parameters)
    tensors.set(`parameter.${name}`, { dtype: "F32", shape, read: async () => bytesOf(data) });
  for (const [name, data] of optimizer)
    tensors.set(`optimizer.${name}`, { dtype: "F32", shape: [data.length], read: async () => bytesOf(data) });
  yield* encodeSafetensors(tensors, { format: "tunesmith" });
}

async function decode(folder: Folder): Promise<TrainingCheckpoint> {
  const trainer = JSON.parse(await folder.readText("trainer.json")) as TrainerState;
  const file = await openSafetensors(await folder.open("state.safetensors"));
  const parameters = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  const optimizer = new Map<string, Float32Array>();
  for (const [name, entry] of file.tensors) {
    const data = toFloat32({ name, dtype: entry.dtype, bytes: await readTensor(file, entry) });
    if (name.startsWith("parameter.")) parameters.set(name.slice("parameter.".length), { shape: entry.shape, data });
    else optimizer.set(name.slice("optimizer.".length), data);
  }
  return { trainer, engine: { parameters, optimizer } };
}
