/** Encoders as transformers saves them without a head: a random checkpoint of a family on disk. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeConfig } from "../src/export/config-json.ts";
import { writeSmallCheckpoint } from "./cli/small-checkpoint.ts";
import { reference } from "./conformance/tiny-model.ts";
import { tinyConfig } from "./support/cells.ts";

/** Family -> its bare class, and the module that the other classes hold the model in. */
const bareClasses = {
  bert: { bare: "BertModel", outer: "bert." },
  roberta: { bare: "RobertaModel", outer: "roberta." },
  distilbert: { bare: "DistilBertModel", outer: "distilbert." },
  modernbert: { bare: "ModernBertModel", outer: "model." },
} as const;
export type BareEncoder = keyof typeof bareClasses;
export const bareEncoders = Object.keys(bareClasses) as BareEncoder[];

/** @param isKept tensors of the head that are in the file nevertheless */
export async function writeBareEncoder(folder: string, family: BareEncoder, isKept = (_: string): boolean => false): Promise<string> {
  const { bare, outer } = bareClasses[family];
  const nameOf = (tensor: string): string | undefined => {
    if (tensor.startsWith(outer)) return tensor.slice(outer.length);
    return isKept(tensor) ? tensor : undefined;
  };
  await writeSmallCheckpoint(folder, { ...tinyConfig(family), architectures: [bare] }, nameOf);
  // transformers reads no config.json in which a float has lost its fraction.
  const [written, original] = [folder, join(reference, "encoders", family)].map((of) => readFileSync(join(of, "config.json"), "utf8"));
  writeFileSync(join(folder, "config.json"), encodeConfig(JSON.parse(written!) as Record<string, unknown>, original!));
  return folder;
}
