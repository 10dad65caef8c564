/** Runs graphs in the float64 interpreter: slow and exact, for tests. */
import { BackendError } from "../base/errors.ts";
import type { ReferenceArray } from "../tensor/graph.ts";
import { interpret } from "../tensor/interpret.ts";
import type { Backend, HostTensor } from "./backend.ts";

export const referenceBackend: Backend = {
  name: "reference",
  storable: ["float32"],
  compile: async (graph) => ({
    async run(inputs, outputs = {}) {
      const arrays = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, toReference(tensor)]));
      const results = interpret(graph, arrays);
      return Object.fromEntries(
        [...graph.outputs].map(([name, { dtype }]) => {
          const { shape, data } = results[name]!;
          if (dtype !== "float32") throw new BackendError(`the reference backend returns float32 only; output "${name}" is ${dtype}.`);
          const target = (outputs[name]?.data as Float32Array | undefined) ?? new Float32Array(data.length);
          target.set(data);
          return [name, outputs[name] ?? { dtype, dims: [...shape], data: target }];
        }),
      );
    },
    dispose: async () => {},
  }),
};

const toReference = ({ dims, data }: HostTensor): ReferenceArray => ({ shape: dims, data: Float64Array.from(data as ArrayLike<number | bigint>, Number) });
