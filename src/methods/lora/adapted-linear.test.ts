import { expect, it } from "vitest";
import { createRandom } from "../../base/random.ts";
import type { LinearModule } from "../../models/segments.ts";
import { adaptLinear } from "./adapted-linear.ts";
import { configSchema } from "./config.ts";

const linear: LinearModule = { module: "layer", inFeatures: 6, outFeatures: 4, layout: "out-in" };
const weight = { shape: [4, 6], data: Float32Array.from({ length: 24 }, (_, i) => Math.sin(i + 1)) };
const base = async () => weight;

/** What the parameters of an adapted layer begin with. */
async function begin(options: object) {
  const adapted = adaptLinear(linear, {
    ...{ config: configSchema.parse({ name: "lora", rank: 2, ...options }), given: new Map(), quantised: undefined },
  });
  const random = createRandom(1);
  const make = async () => {
    const values = [];
    for (const parameter of [adapted.a, adapted.b, adapted.magnitude])
      if (parameter) values.push(await parameter.initialise(random, base, base));
    return values;
  };
  return { adapted, make };
}

it.each([{}, { useDora: true }])("lets go of how A and B began once they are made: %o", async (options) => {
  const { adapted, make } = await begin(options);
  const [a, b] = await make();
  expect(adapted.start()).toBeUndefined();
  expect([a!.length, b!.every((value) => value === 0)]).toEqual([12, true]);
  expect((await make())[0]).not.toEqual(a); // made anew
});

it("holds a start that was taken out of the base, for the export", async () => {
  const { adapted, make } = await begin({ initLoraWeights: "pissa" });
  const [a, b] = await make();
  expect(adapted.start()).toMatchObject({ a, b });
  expect((await make())[0]).toBe(a);
});
