/** What runs a tensor graph. Models and methods never see a backend; the execution floor brings the two together. */
import type { DType } from "../tensor/dtype.ts";
import { type Graph, printGraph } from "../tensor/graph.ts";

/** A dense tensor in host memory, row-major. float16 and bfloat16 are held as their bits. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;
}

export interface Executable {
  /**
   * @param inputs a tensor for every graph input
   * @param outputs tensors that results are written into; results not named here get new memory
   * @throws BackendError if an input is missing, or a tensor has another type or shape than declared
   */
  run(inputs: Readonly<Record<string, HostTensor>>, outputs?: Readonly<Record<string, HostTensor>>): Promise<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}

export interface Backend {
  readonly name: string;
  /** Element types in which weights may be handed over. */
  readonly storable: readonly DType[];
  /** Graphs that print alike share one executable.
   * @throws BackendError naming the operation, if the device lacks one */
  compile(graph: Graph, options?: { readonly name?: string }): Promise<Executable>;
}

interface Entry {
  readonly executable: Promise<Executable>;
  users: number;
}

/** Executables by the text of their graph. Equal programs are compiled once and released when the last user disposes of them. */
export class CompiledGraphCache {
  readonly #entries = new Map<string, Entry>();

  /** Programs that are compiled now. */
  get size(): number {
    return this.#entries.size;
  }

  async compile(graph: Graph, make: () => Promise<Executable>): Promise<Executable> {
    const key = keyOf(graph);
    const entry = this.#entries.get(key) ?? { executable: make(), users: 0 };
    this.#entries.set(key, entry);
    entry.users++;
    const forget = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    };
    const executable = await entry.executable.catch((error: unknown) => {
      forget(); // another attempt may succeed, for example once memory is free
      throw error;
    });
    let held = true;
    return {
      run: (inputs, outputs) => executable.run(inputs, outputs),
      async dispose() {
        if (!held) return;
        held = false;
        if (--entry.users > 0) return;
        forget();
        await executable.dispose();
      },
    };
  }
}

/** The printed form is JSON in part, which has no infinity, NaN or -0; the numbers of constants are told apart here. */
function keyOf(graph: Graph): string {
  const numbers = graph.nodes.flatMap(({ attributes: { value } }) =>
    typeof value === "number" ? [Object.is(value, -0) ? "-0" : String(value)] : [],
  );
  return `${printGraph(graph)}\nconstants ${numbers.join(" ")}`;
}
