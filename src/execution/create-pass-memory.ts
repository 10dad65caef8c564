/** The memory of a pass on a backend, and what it is in the host's own. */
import type { Backend, HostTensor, Tensor } from "../backends/backend.ts";
import { createDevicePassMemory } from "./device-pass-memory.ts";
import { gatherRows } from "./gather-rows.ts";
import type { PassMemory } from "./pass-memory.ts";
import type { Workspace } from "./workspace.ts";

export const createPassMemory = ({ deviceMemory }: Pick<Backend, "deviceMemory">, workspace: Workspace): PassMemory =>
  deviceMemory ? createDevicePassMemory(deviceMemory) : inSlots(workspace);

const inSlots = (workspace: Workspace): PassMemory => ({
  slot: (name, type) => workspace.floats(name, type),
  trained: async () => undefined,
  resident: async (_, tensor) => tensor,
  bring: async (tensor) => tensor,
  toHost: async (tensor) => tensor as HostTensor,
  release: () => {},
  async add(sum, tensor) {
    const added = floatsOf(tensor);
    // The tensor stands in a slot, which the next block writes over.
    if (!sum) return { dtype: "float32", dims: tensor.dims, data: added.slice() };
    const total = floatsOf(sum);
    for (let i = 0; i < total.length; i++) total[i]! += added[i]!;
    return sum;
  },
  async gatherRows(slot, hidden, positions) {
    const rows = workspace.float32(slot, [positions.length, hidden.dims.at(-1)!]);
    gatherRows(hidden as HostTensor, positions, floatsOf(rows));
    return rows;
  },
  rowsGradient(hidden) {
    const gradient = workspace.float32("hidden.gradient.0", hidden.dims);
    floatsOf(gradient).fill(0);
    const width = hidden.dims.at(-1)!;
    return {
      async add(rows, positions) {
        const values = floatsOf(rows);
        positions.forEach((position, i) => {
          floatsOf(gradient).set(values.subarray(i * width, (i + 1) * width), position * width);
        });
      },
      finish: async () => gradient,
    };
  },
  dispose: async () => {},
});

const floatsOf = (tensor: Tensor): Float32Array => (tensor as HostTensor).data as Float32Array;
