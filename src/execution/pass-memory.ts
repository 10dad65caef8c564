/**
 * Where a pass keeps what goes from one graph to the next. In the host's memory these are named slots that every step reuses; on a
 * device with memory of its own, new tensors that the pass gives back, with frozen weights that are brought there once.
 */
import type { Backend, CompileOptions, DeviceMemory, DeviceTensor, HostTensor, Tensor } from "../backends/backend.ts";
import { isOnDevice } from "../backends/backend.ts";
import type { Graph } from "../tensor/graph.ts";
import type { Workspace } from "./workspace.ts";

/** A graph whose results stay where they are made. */
export interface SegmentExecutable {
  run(inputs: Readonly<Record<string, Tensor>>, outputs?: Readonly<Record<string, HostTensor>>): Promise<Record<string, Tensor>>;
  dispose(): Promise<void>;
}

export const compileToStay = (backend: Backend, graph: Graph, options: CompileOptions): Promise<SegmentExecutable> =>
  backend.deviceMemory ? backend.deviceMemory.compile(graph, options) : backend.compile(graph, options);

export interface PassMemory {
  /** True if results can be written into memory of the host. */
  readonly isHost: boolean;
  /** What results of this name are written into; undefined where they get memory of the device. */
  slot(name: string, dims: readonly number[]): HostTensor | undefined;
  /** Until `dispose`: a tensor that does not change. */
  resident(name: string, tensor: HostTensor): Promise<Tensor>;
  /** For several graphs; the caller releases it. */
  bring(tensor: HostTensor): Promise<Tensor>;
  toHost(tensor: Tensor): Promise<HostTensor>;
  /** Nothing reads this tensor any more. */
  release(tensor: Tensor): void;
  /** Gives back what is resident. */
  dispose(): Promise<void>;
}

export const createPassMemory = ({ deviceMemory }: Pick<Backend, "deviceMemory">, workspace: Workspace): PassMemory =>
  deviceMemory ? onDevice(deviceMemory) : inSlots(workspace);

const inSlots = (workspace: Workspace): PassMemory => ({
  isHost: true,
  slot: (name, dims) => workspace.float32(name, dims),
  resident: async (_, tensor) => tensor,
  bring: async (tensor) => tensor,
  toHost: async (tensor) => tensor as HostTensor,
  release: () => {},
  dispose: async () => {},
});

function onDevice(memory: DeviceMemory): PassMemory {
  const residents = new Map<string, Promise<DeviceTensor>>();
  return {
    isHost: false,
    slot: () => undefined,
    resident(name, tensor) {
      if (!residents.has(name)) residents.set(name, memory.upload(tensor));
      return residents.get(name)!;
    },
    bring: (tensor) => memory.upload(tensor),
    toHost: async (tensor) => (isOnDevice(tensor) ? memory.download(tensor) : tensor),
    release(tensor) {
      if (isOnDevice(tensor)) tensor.dispose();
    },
    async dispose() {
      for (const tensor of await Promise.all(residents.values())) tensor.dispose();
      residents.clear();
    },
  };
}
