/**
 * Where the tensors of trained parameters are: their weights, or their gradients. They have one home at a time, the flat vectors of
 * the host or a device's memory, and who wants them elsewhere moves them all. So no copy can be stale: the host's vectors
 * cannot be reached while the device is their home.
 */
import type { DeviceMemory, DeviceTensor, HostTensor, Tensor } from "../../backends/backend.ts";
import { BackendError } from "../../base/errors.ts";

/** One flat vector of the host, and where each parameter stands in it. */
export interface FlatVector {
  readonly data: Float32Array;
  readonly layout: ReadonlyMap<
    string,
    { readonly offset: number; readonly length: number; readonly spec: { readonly shape: readonly number[] } }
  >;
}

/** A flat vector of trained parameters with its gradients. */
export interface TrainedVector {
  readonly parameters: Float32Array;
  readonly gradients: Float32Array;
}

/** What is trained, for those who work on it in the host's memory. */
export interface TrainedVectors {
  /** Elements of each vector. */
  readonly sizes: readonly number[];
  /** The weights of now, to be read before anything else runs. They stay where they are. */
  read(): Promise<readonly Float32Array[]>;
  /** Weights and gradients, moved to the host's memory, to be read and changed before anything else runs. */
  onHost(): Promise<readonly TrainedVector[]>;
}

export class TrainedTensors {
  readonly #what: string;
  /** Views of the host's vectors, by parameter. */
  readonly #views = new Map<string, HostTensor & { readonly data: Float32Array }>();
  #away: { readonly memory: DeviceMemory; readonly tensors: Map<string, DeviceTensor> } | undefined;

  /** @param what for error messages */
  constructor(what: string, vectors: readonly FlatVector[]) {
    this.#what = what;
    for (const { data, layout } of vectors) {
      for (const [name, { offset, length, spec }] of layout)
        this.#views.set(name, { dtype: "float32", dims: spec.shape, data: data.subarray(offset, offset + length) });
    }
  }

  has(name: string): boolean {
    return this.#views.has(name);
  }

  get names(): Iterable<string> {
    return this.#views.keys();
  }

  get isOnHost(): boolean {
    return this.#away === undefined;
  }

  /** Something that shows the host's memory. @throws BackendError while the device is home */
  onHost<View>(view: View): View {
    if (this.#away)
      throw new BackendError(`the ${this.#what} are on the device; move them to the host's memory before they are read there.`);
    return view;
  }

  /** One parameter's, where it is now. */
  at(name: string): Tensor | undefined {
    return this.#away ? this.#away.tensors.get(name) : this.#views.get(name);
  }

  /** Makes the device their home. */
  async toDevice(memory: DeviceMemory): Promise<void> {
    if (this.#away) return;
    const tensors = new Map<string, DeviceTensor>();
    for (const [name, view] of this.#views) tensors.set(name, await memory.upload(view));
    this.#away = { memory, tensors };
  }

  /** Makes the device their home without bringing anything there; `put` does. */
  beginOnDevice(memory: DeviceMemory): void {
    this.discard();
    this.#away = { memory, tensors: new Map() };
  }

  /** Puts a tensor in place of a parameter's present one, which is given back. */
  put(name: string, tensor: DeviceTensor): void {
    const { tensors } = this.#away!;
    tensors.get(name)?.dispose();
    tensors.set(name, tensor);
  }

  /** Makes the host their home. */
  async toHost(): Promise<void> {
    if (!this.#away) return;
    await this.copyToHost();
    this.discard();
  }

  /** The values of now, by parameter, in the host's memory: to be read before the next call. Their home stays where it is. */
  async copyToHost(): Promise<ReadonlyMap<string, HostTensor & { readonly data: Float32Array }>> {
    if (this.#away) {
      const { memory, tensors } = this.#away;
      for (const [name, tensor] of tensors) this.#views.get(name)!.data.set((await memory.download(tensor)).data as Float32Array);
    }
    return this.#views;
  }

  /** Gives back what is on the device, and its values with it; the host's vectors are home, whatever they hold. */
  discard(): void {
    for (const tensor of this.#away?.tensors.values() ?? []) tensor.dispose();
    this.#away = undefined;
  }
}
