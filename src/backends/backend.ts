/** What runs a tensor graph. Models and methods never see a backend; the execution floor brings the two together. */
import type { DType } from "../tensor/dtype.ts";
import { type Graph, printGraph } from "../tensor/graph.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";

export type { HostTensor };

/** A tensor in the memory of a device, which only that device's executables read. */
export interface DeviceTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** The backend's own. */
  readonly handle: unknown;
  /** Gives the memory back; the tensor must not be used afterwards. */
  dispose(): void;
}

export type Tensor = HostTensor | DeviceTensor;

export const isOnDevice = (tensor: Tensor): tensor is DeviceTensor => "handle" in tensor;

export interface Executable {
  /**
   * @param inputs a tensor for every graph input
   * @param outputs tensors that results are written into; results not named here get new memory
   * @throws BackendError if an input is missing, or a tensor has another type or shape than declared
   */
  run(inputs: Readonly<Record<string, Tensor>>, outputs?: Readonly<Record<string, HostTensor>>): Promise<Record<string, HostTensor>>;
  /** True if results may be given the memory of operands. */
  readonly overwritesOperands?: boolean;
  dispose(): Promise<void>;
}

/** An executable whose results stay on the device. */
export interface DeviceExecutable<Result extends Tensor = DeviceTensor> {
  /** Each result is the caller's to dispose. @throws BackendError as `Executable.run` */
  run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Result>>;
  dispose(): Promise<void>;
}

/** The memory of a device that is not the host's. */
export interface DeviceMemory {
  compile(graph: Graph, options?: { readonly name?: string }): Promise<DeviceExecutable>;
  /** The same, but for results that the host is to read, which come to it. */
  compileReporting(
    graph: Graph,
    options: { readonly name?: string; readonly toHost: ReadonlySet<string> },
  ): Promise<DeviceExecutable<Tensor>>;
  upload(tensor: HostTensor): Promise<DeviceTensor>;
  download(tensor: DeviceTensor): Promise<HostTensor>;
}

export interface CompileOptions {
  /** For error messages. */
  readonly name?: string;
  /** Values of graph inputs that never change; runs do not give them. The backend may lay them out as suits it, and keeps a copy. */
  readonly constants?: ReadonlyMap<string, HostTensor>;
  /** Hold on to working memory between runs. Worth its size where a large graph runs again and again. */
  readonly keepsMemory?: boolean;
  /** The graph works element by element: where the backend can, it runs as one loop whose results may be written over any operands. */
  readonly asElementLoop?: boolean;
}

export interface Backend {
  readonly name: string;
  /** Element types in which weights may be handed over. */
  readonly storable: readonly DType[];
  /** True if it may compute in float16; whether the one at hand does, a trial tells (trials.ts). */
  readonly computesFloat16?: boolean;
  /** Products with large 4-bit weights are to be cut into parts, so that one part is decoded at a time (`cutDecodedWeights`). */
  readonly decodesInParts?: boolean;
  /** Graphs that print alike share one executable, unless they have constants.
   * @throws BackendError naming the operation, if the device lacks one */
  compile(graph: Graph, options?: CompileOptions): Promise<Executable>;
  /** Where results can stay; absent where the device computes in the host's memory. */
  readonly deviceMemory?: DeviceMemory;
}

interface Disposable {
  run: (...given: never[]) => unknown;
  dispose(): Promise<void>;
}

interface Entry<Made> {
  readonly executable: Promise<Made>;
  users: number;
}

/** Executables by the text of their graph. Equal programs are compiled once and released when the last user disposes of them. */
export class CompiledGraphCache<Made extends Disposable = Executable> {
  readonly #entries = new Map<string, Entry<Made>>();

  /** Programs that are compiled now. */
  get size(): number {
    return this.#entries.size;
  }

  async compile(graph: Graph, make: () => Promise<Made>): Promise<Made> {
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
      ...executable,
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
