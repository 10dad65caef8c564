/** Named buffers that live as long as a run. A slot grows to the largest batch seen and is then reused, so that steps allocate nothing. */
import type { HostTensor } from "../backends/backend.ts";
import type { DType } from "../tensor/dtype.ts";

export class Workspace {
  readonly #slots = new Map<string, ArrayBuffer>();

  /** A float32 tensor in the slot of this name; its content is what the slot held before. */
  float32(slot: string, dims: readonly number[]): HostTensor {
    const length = dims.reduce((product, size) => product * size, 1);
    return { dtype: "float32", dims, data: new Float32Array(this.#buffer(slot, 4 * length), 0, length) };
  }

  /** The same of any type that activations are held in. */
  floats(slot: string, { dtype, dims }: { readonly dtype: DType; readonly dims: readonly number[] }): HostTensor {
    if (dtype === "float32") return this.float32(slot, dims);
    const length = dims.reduce((product, size) => product * size, 1);
    return { dtype, dims, data: new Uint16Array(this.#buffer(slot, 2 * length), 0, length) };
  }

  get sizeBytes(): number {
    let total = 0;
    for (const buffer of this.#slots.values()) total += buffer.byteLength;
    return total;
  }

  clear(): void {
    this.#slots.clear();
  }

  #buffer(slot: string, bytes: number): ArrayBuffer {
    const held = this.#slots.get(slot);
    if (held && held.byteLength >= bytes) return held;
    const grown = new ArrayBuffer(bytes);
    this.#slots.set(slot, grown);
    return grown;
  }
}
