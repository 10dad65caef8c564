/** A backend whose device has memory of its own, counted: what crosses to it and back, and what is held there. */
import {
  type Backend,
  type DeviceExecutable,
  type DeviceTensor,
  type HostTensor,
  isOnDevice,
  type Tensor,
} from "../../src/backends/backend.ts";

export interface Crossing {
  /** Of the graph's input or output; "upload" and "download" for tensors that went by themselves. */
  readonly name: string;
  readonly bytes: number;
}

export class Counts {
  up: Crossing[] = [];
  down: Crossing[] = [];
  /** Tensors on the device that were not given back. */
  live = 0;

  /** What crosses from here on is counted anew. */
  begin(): void {
    this.up = [];
    this.down = [];
  }

  bytes(direction: "up" | "down"): number {
    return this[direction].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  largest(direction: "up" | "down"): number {
    return Math.max(0, ...this[direction].map(({ bytes }) => bytes));
  }
}

export function counting(backend: Backend): { readonly counts: Counts; readonly on: Backend } {
  const counts = new Counts();
  const memory = backend.deviceMemory!;
  const held = (tensor: DeviceTensor): DeviceTensor => {
    counts.live++;
    let disposed = false;
    return {
      ...tensor,
      dispose() {
        if (disposed) throw new Error(`a tensor ${tensor.dtype}[${tensor.dims}] is given back twice`);
        disposed = true;
        counts.live--;
        tensor.dispose();
      },
    };
  };
  const note = (crossings: Crossing[], tensors: Readonly<Record<string, Tensor>>): void => {
    for (const [name, tensor] of Object.entries(tensors)) if (!isOnDevice(tensor)) crossings.push({ name, bytes: tensor.data.byteLength });
  };
  const counted = <Result extends Tensor>(executable: DeviceExecutable<Result>): DeviceExecutable<Result> => ({
    ...executable,
    async run(inputs) {
      note(counts.up, inputs);
      const results = await executable.run(inputs);
      note(counts.down, results);
      return Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, isOnDevice(tensor) ? held(tensor) : tensor]),
      ) as Record<string, Result>;
    },
  });
  const on: Backend = {
    ...backend,
    async compile(graph, options) {
      const executable = await backend.compile(graph, options);
      return {
        ...executable,
        async run(inputs, outputs) {
          note(counts.up, inputs);
          const results = await executable.run(inputs, outputs);
          note(counts.down, results);
          return results;
        },
      };
    },
    deviceMemory: {
      compile: async (graph, options) => counted(await memory.compile(graph, options)),
      compileReporting: async (graph, options) => counted(await memory.compileReporting(graph, options)),
      async upload(tensor: HostTensor) {
        note(counts.up, { upload: tensor });
        return held(await memory.upload(tensor));
      },
      async download(tensor) {
        const onHost = await memory.download(tensor);
        note(counts.down, { download: onHost });
        return onHost;
      },
    },
  };
  return { counts, on };
}
