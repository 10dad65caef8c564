/** The memory of a pass on a device that has its own: every result is a tensor there, given back when its last reader has run. */
import { type DeviceMemory, type DeviceTensor, isOnDevice, type Tensor } from "../backends/backend.ts";
import { int64 } from "./batch-context.ts";
import { DevicePrograms } from "./device-programs.ts";
import type { PassMemory, RowsGradient } from "./pass-memory.ts";

export function createDevicePassMemory(memory: DeviceMemory): PassMemory {
  const residents = new Map<string, Promise<DeviceTensor>>();
  const programs = new DevicePrograms(memory);
  const bring = async (tensor: Tensor): Promise<Tensor> => (isOnDevice(tensor) ? tensor : memory.upload(tensor));
  const release = (tensor: Tensor): void => {
    if (isOnDevice(tensor)) tensor.dispose();
  };
  const add = async (sum: Tensor | undefined, tensor: Tensor): Promise<Tensor> => {
    if (!sum) return bring(tensor);
    const [total] = await programs.sums([[sum, tensor]]);
    release(sum);
    release(tensor);
    return total!;
  };
  return {
    ...{ bring, release, add },
    slot: () => undefined,
    async trained({ weights }, parameter) {
      if (!weights?.has(parameter)) return undefined;
      await weights.toDevice(memory);
      return weights.at(parameter);
    },
    resident(name, tensor) {
      if (!residents.has(name)) residents.set(name, memory.upload(tensor));
      return residents.get(name)!;
    },
    toHost: async (tensor) => (isOnDevice(tensor) ? memory.download(tensor) : tensor),
    gatherRows: (_, hidden, positions) => programs.gatherRows(hidden, flat(positions)),
    rowsGradient(hidden): RowsGradient {
      let gradient: Tensor | undefined;
      const addRows = async (rows: Tensor, positions: Int32Array): Promise<void> => {
        gradient = await add(gradient, await programs.spreadRows(rows, { hidden, positions: flat(positions) }));
      };
      return {
        add: addRows,
        async finish() {
          if (!gradient) await addRows({ dtype: "float32", dims: [0, hidden.dims.at(-1)!], data: new Float32Array(0) }, new Int32Array(0));
          return gradient!;
        },
      };
    },
    async dispose() {
      for (const tensor of await Promise.all(residents.values())) tensor.dispose();
      residents.clear();
    },
  };
}

const flat = (positions: Int32Array) => int64(positions, [positions.length]);
