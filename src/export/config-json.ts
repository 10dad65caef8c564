/** config.json of a model whose head is for labels: the class that opens it, and what the labels mean. */
import type { LabelHeadName } from "../models/model.ts";

const classEnd: Readonly<Record<LabelHeadName, string>> = {
  "sequence-classification": "ForSequenceClassification",
  "token-classification": "ForTokenClassification",
  "question-answering": "ForQuestionAnswering",
  "multiple-choice": "ForMultipleChoice",
  "sentence-embeddings": "Model",
};

/** @param fields what the task says of its labels */
export function withLabelFields(
  config: Readonly<Record<string, unknown>>,
  { head, fields }: { readonly head: LabelHeadName; readonly fields: Readonly<Record<string, unknown>> },
): Record<string, unknown> {
  return { ...withClass(config, classEnd[head]), ...fields };
}

function withClass(config: Readonly<Record<string, unknown>>, end: string): Record<string, unknown> {
  const [given] = Array.isArray(config.architectures) ? (config.architectures as string[]) : [];
  const stem = given?.replace(/(LMHeadModel|ForCausalLM|For[A-Z]\w*|Model)$/, "");
  return { ...config, ...(stem && { architectures: [`${stem}${end}`] }) };
}

/** Likewise of a model that took a new head for words. */
export const withWordHead = (config: Readonly<Record<string, unknown>>): Record<string, unknown> => withClass(config, "ForMaskedLM");

/** JSON in which whole numbers that had a fraction in `original` have it again: transformers wants floats where it wrote them. */
export function encodeConfig(config: Readonly<Record<string, unknown>>, original: string): string {
  const floats = new Set([...original.matchAll(/"(\w+)":\s*(-?\d+)\.0+(?![\de])/g)].map(([, key, whole]) => `"${key}": ${whole}`));
  return `${JSON.stringify(config, null, 2).replace(/"\w+": -?\d+(?=[,\n])/g, (field) => (floats.has(field) ? `${field}.0` : field))}\n`;
}

/** The head for labels that a checkpoint was saved with, by its class; undefined for language models and bare ones. */
export function headOfCheckpoint({ architectures }: Readonly<Record<string, unknown>>): LabelHeadName | undefined {
  const [given] = Array.isArray(architectures) ? (architectures as string[]) : [];
  return (Object.keys(classEnd) as LabelHeadName[]).find((name) => classEnd[name].startsWith("For") && given?.endsWith(classEnd[name]));
}

/** True for a checkpoint that was saved without a head: its class is the family's name and `Model`. */
export function isBare({ architectures }: Readonly<Record<string, unknown>>): boolean {
  const [given] = Array.isArray(architectures) ? (architectures as string[]) : [];
  return given !== undefined && /Model$/.test(given) && !/(LMHead|DoubleHeads)Model$/.test(given);
}
