/** Fine-tuning of the last blocks, and of what follows them. Nothing below is differentiated, which saves time as well as memory. */
import { z } from "zod";
import { ConfigError } from "../base/errors.ts";
import { defineMethod, type MethodTarget } from "./method.ts";

const configSchema = z.strictObject({
  name: z.literal("last-layers"),
  layers: z.int().positive().default(2).describe("How many of the last blocks are trained."),
  finalNorm: z.boolean().default(true).describe("Train the norm after the last block too."),
  head: z.boolean().default(false).describe("Train the vocabulary head too, where it is not the embedding matrix itself."),
});

export const lastLayers = defineMethod({
  name: "last-layers",
  summary: "Train the last blocks of the model and freeze the rest. Faster than full fine-tuning: the first blocks need no gradients.",
  configSchema,
  attach(target, config: z.output<typeof configSchema>) {
    const trained = new Set(chosenParameters(target, config));
    return { hooks: {}, added: [], trains: (name) => trained.has(name) };
  },
});

function chosenParameters({ model, parameters }: MethodTarget, { layers, finalNorm, head }: z.output<typeof configSchema>): string[] {
  const count = model.numHiddenLayers;
  if (layers > count) throw new ConfigError(`method.layers: ${layers} is above the model's ${count} layers; choose at most ${count}.`);
  const prefixes = Array.from({ length: count }, (_, layer) => model.blockPrefix(layer));
  const inBlocks = (name: string, from: number): boolean => prefixes.slice(from).some((prefix) => name.startsWith(prefix));
  // Parameters stand in order of use, so what follows the last block belongs to the head.
  const after = parameters.slice(parameters.findLastIndex(({ name }) => inBlocks(name, 0)) + 1).filter(({ kind }) => kind !== "buffer");
  const matrices = after.filter(({ kind }) => kind === "embedding" || kind === "weight");
  if (head && matrices.length === 0)
    throw new ConfigError(
      "method.head: the head shares its matrix with the embeddings here (tie_word_embeddings), so it cannot be trained apart. Leave head out, or use method.name: freeze.",
    );
  const ends = after.filter((spec) => (matrices.includes(spec) ? head : finalNorm));
  return [...parameters.filter(({ name }) => inBlocks(name, count - layers)), ...ends].map(({ name }) => name);
}
