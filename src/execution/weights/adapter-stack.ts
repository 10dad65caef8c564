/** Adapters that were read from files, put on one base together. */
import { UnsupportedError } from "../../base/errors.ts";
import { createRandom } from "../../base/random.ts";
import type { LoraConfig } from "../../methods/lora/config.ts";
import { lora } from "../../methods/lora/lora.ts";
import { type StackedAdapter, stackLora } from "../../methods/lora/stack.ts";
import type { AttachedMethod, MethodTarget } from "../../methods/method.ts";
import type { Adapter } from "./adapter-files.ts";
import type { WeightSource } from "./checkpoint-weights.ts";
import { loadParameters } from "./parameter-store.ts";

/** The i-th adapter gets the id i + 1; id 0 is the base alone. Target modules, ranks and scales may differ.
 * @throws UnsupportedError for an adapter that is more than LoRA; CheckpointError if one was made for another base */
export async function stackAdapters(
  target: MethodTarget,
  { adapters, source }: { adapters: readonly Adapter[]; source: WeightSource },
): Promise<AttachedMethod> {
  const stacked: StackedAdapter[] = [];
  for (const adapter of adapters) {
    const { name, method, config } = adapter;
    const refuse = (reason: string): never => {
      throw new UnsupportedError(
        `${name}: ${reason}, so it cannot be loaded beside other adapters. Load it alone, or merge it into a copy of the base.`,
      );
    };
    if (method.name !== lora.name) refuse(`this is a ${method.name} adapter, not LoRA`);
    const attached = method.attach(target, config);
    if (attached.changedBase && attached.changedBase.size > 0) refuse("its start changed the base's weights");
    const whole = target.parameters.find((parameter) => attached.trains(parameter.name));
    if (whole) refuse(`it trains ${whole.name} whole (modules_to_save)`);
    const foreign = attached.added.find((parameter) => !/\.lora_[AB]\.weight$/.test(parameter.name));
    if (foreign) refuse(`it has ${foreign.name} beside the two factors`);
    const random = createRandom(0); // the start values are overwritten
    const store = await loadParameters({ specs: [], method: attached, source, random, storable: ["float32"] });
    adapter.loadInto(store, attached);
    stacked.push({
      config: config as LoraConfig,
      read(parameter) {
        const { spec, tensor } = store.parameters.get(parameter)!;
        return { shape: spec.shape, data: tensor.data as Float32Array };
      },
    });
  }
  return stackLora(target, stacked);
}
