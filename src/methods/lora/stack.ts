/**
 * Several LoRA adapters on one base at once: every row of a batch says which of them acts on it (PEFT: adapter_names).
 * The factors of all adapters lie side by side, and a table with a line for each adapter scales the ranks that are its own
 * and silences the others: two products whatever the number of adapters, any mix of ranks and of target modules, and no
 * copy of a factor for a row. It costs the sum of the ranks on every row; for tens of adapters, not hundreds.
 */
import { add, gather, matmul, mul, reshape } from "../../tensor/ops/index.ts";
import type { AddedParameter, AttachedMethod, MethodTarget, ParameterData } from "../method.ts";
import type { AdaptedLinear } from "./adapted-linear.ts";
import type { LoraConfig } from "./config.ts";
import { adaptedLinears } from "./lora.ts";

/** Graph input of every block that an adapter reaches, int64 [B]: 0 is the base alone, i the i-th adapter, counted from 1. */
export const adapterIdsInput = "adapterIds";

export interface StackedAdapter {
  readonly config: LoraConfig;
  /** A factor by its parameter name. */
  read(parameter: string): ParameterData;
}

/** For inference: nothing is trained. */
export function stackLora(target: MethodTarget, adapters: readonly StackedAdapter[]): AttachedMethod {
  const layers = adapters.map(({ config }) => adaptedLinears(target, config));
  const stacks = new Map<string, Stack>();
  for (const { module } of target.linears) {
    const parts = adapters.flatMap((adapter, i) => {
      const linear = layers[i]!.get(module);
      return linear ? [{ linear, id: i + 1, a: adapter.read(linear.a.name), b: adapter.read(linear.b.name) }] : [];
    });
    if (parts.length > 0) stacks.set(module, stack(parts, adapters.length));
  }
  return {
    hooks: {
      linear({ module, input, output }, build) {
        const found = stacks.get(module);
        if (!found) return output;
        const [a, b, scales] = [build.parameter(found.a), build.parameter(found.b), build.parameter(found.scales)];
        const B = input.shape[0]!;
        const ids = build.graph.inputs.get(adapterIdsInput) ?? build.graph.input(adapterIdsInput, { dtype: "int64", shape: [B] });
        const inner = matmul(input, a, { transposeB: true }); // [B, T, R]
        return add(output, matmul(mul(inner, reshape(gather(scales, ids), [B, 1, found.rank])), b, { transposeB: true }));
      },
    },
    added: [...stacks.values()].flatMap(({ a, b, scales }) => [a, b, scales]),
    trains: () => false,
  };
}

interface Part {
  readonly linear: AdaptedLinear;
  readonly id: number;
  readonly a: ParameterData;
  readonly b: ParameterData;
}

interface Stack {
  /** R, the sum of the ranks. */
  readonly rank: number;
  /** [R, in]. */
  readonly a: AddedParameter;
  /** [out, R]. */
  readonly b: AddedParameter;
  /** [adapters + 1, R]. */
  readonly scales: AddedParameter;
}

function stack(parts: readonly Part[], adapters: number): Stack {
  const { module, inFeatures, outFeatures } = parts[0]!.linear;
  const rank = parts.reduce((sum, { a }) => sum + a.shape[0]!, 0);
  const a = new Float32Array(rank * inFeatures);
  const b = new Float32Array(outFeatures * rank);
  const scales = new Float32Array((adapters + 1) * rank);
  let start = 0;
  for (const part of parts) {
    const own = part.a.shape[0]!;
    a.set(part.a.data, start * inFeatures);
    for (let o = 0; o < outFeatures; o++) b.set(part.b.data.subarray(o * own, (o + 1) * own), o * rank + start);
    scales.fill(part.linear.scale, part.id * rank + start, part.id * rank + start + own);
    start += own;
  }
  const fixed = (name: string, shape: readonly number[], data: Float32Array): AddedParameter => ({
    ...{ name: `${module}.${name}`, shape, kind: "adapter", initialise: () => data },
  });
  return {
    rank,
    a: fixed("lora_A.stack", [rank, inFeatures], a),
    b: fixed("lora_B.stack", [outFeatures, rank], b),
    scales: fixed("lora_scale.stack", [adapters + 1, rank], scales),
  };
}
