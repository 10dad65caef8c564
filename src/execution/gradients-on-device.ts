/** Gradients that stay on the device that made them: a first one is the accumulator, others are added to it there. */
import { type DeviceMemory, type DeviceTensor, isOnDevice, type Tensor } from "../backends/backend.ts";
import { DevicePrograms } from "./device-programs.ts";
import { type GradientPlace, type GradientSink, gradientsIn } from "./parameter-gradients.ts";
import type { ParameterStore } from "./weights/parameter-store.ts";
import type { TrainedTensors } from "./weights/trained-tensors.ts";

export class GradientsOnDevice implements GradientSink {
  readonly #memory: DeviceMemory;
  readonly #programs: DevicePrograms;
  readonly #gradients: TrainedTensors;
  readonly #shapeOf: (parameter: string) => readonly number[];
  #isEmpty = true;

  constructor({ gradients, parameters }: Pick<ParameterStore, "gradients" | "parameters">, memory: DeviceMemory) {
    this.#memory = memory;
    this.#programs = new DevicePrograms(memory);
    this.#gradients = gradients;
    this.#shapeOf = (parameter) => parameters.get(parameter)!.spec.shape;
  }

  target(): undefined {
    return undefined;
  }

  async addAll(results: Readonly<Record<string, Tensor>>, placeOf: (local: string) => GradientPlace): Promise<void> {
    await this.#begin();
    const { dense, rows } = gradientsIn(results as Readonly<Record<string, DeviceTensor>>);
    const further: { readonly parameter: string; readonly pair: readonly [Tensor, DeviceTensor] }[] = [];
    for (const [local, tensor] of dense) {
      const { parameter } = placeOf(local);
      const sum = this.#gradients.at(parameter);
      if (sum) further.push({ parameter, pair: [sum, tensor] });
      else this.#gradients.put(parameter, tensor);
    }
    const sums = await this.#programs.sums(further.map(({ pair }) => pair));
    for (const [i, { parameter, pair }] of further.entries()) {
      this.#gradients.put(parameter, sums[i]!);
      pair[1].dispose();
    }
    for (const [local, { indices, updates }] of rows) {
      const { parameter } = placeOf(local);
      const into = this.#gradients.at(parameter);
      this.#gradients.put(parameter, await this.#programs.addRows(this.#shapeOf(parameter), { into, indices, updates }));
      for (const used of [indices, updates]) if (isOnDevice(used)) used.dispose();
    }
  }

  async finish(): Promise<void> {
    await this.#begin();
    for (const name of this.#gradients.names) {
      if (this.#gradients.at(name)) continue;
      this.#gradients.put(name, await this.#programs.zeros(this.#shapeOf(name)));
    }
  }

  discard(): void {
    this.#gradients.discard();
    this.#isEmpty = true;
  }

  async norm(): Promise<number> {
    await this.#gradients.toDevice(this.#memory);
    const tensors = [...this.#gradients.names].map((name) => this.#gradients.at(name)!);
    const total = await this.#programs.sumOfSquares(tensors);
    const { data } = await this.#memory.download(total);
    total.dispose();
    return Math.sqrt(data[0] as number);
  }

  async #begin(): Promise<void> {
    // Where the host has taken them, it may have changed them.
    if (!this.#isEmpty) return this.#gradients.toDevice(this.#memory);
    this.#gradients.beginOnDevice(this.#memory);
    this.#isEmpty = false;
  }
}
