/**
 * Trains single rows of the embedding: tokens that the checkpoint has room for but never learned, such as reserved or added ones.
 * PEFT's TRAINABLE_TOKENS: the rows are held apart, start as they are, and replace the table's; a tied head uses them too.
 */
import { z } from "zod";
import { ConfigError, UnsupportedError } from "../base/errors.ts";
import type { ParameterSpec } from "../models/segment-builder.ts";
import type { Value } from "../tensor/graph.ts";
import {
  add,
  concat,
  constant,
  equal,
  greaterOrEqual,
  matmul,
  mul,
  reduceSum,
  reshape,
  scatterAddRows,
  where,
} from "../tensor/ops/index.ts";
import { type AddedParameter, type AttachedMethod, defineMethod, type MethodTarget, type ParameterData, wordEmbedding } from "./method.ts";

const configSchema = z.strictObject({
  name: z.literal("new-tokens"),
  tokens: z
    .array(z.union([z.string(), z.int().min(0)]))
    .min(1)
    .describe("Tokens to train, by their exact text in the tokenizer or by id."),
});
type NewTokensConfig = z.output<typeof configSchema>;

export const newTokens = defineMethod({
  name: "new-tokens",
  summary: "Train only the embedding rows of a few tokens, for special or added tokens that the model has not learned yet.",
  configSchema,
  peftType: "TRAINABLE_TOKENS",

  attach(target: MethodTarget, config: NewTokensConfig): AttachedMethod {
    const ids = tokenIds(target, config);
    const table = wordEmbedding(target);
    const module = table.name.replace(/\.weight$/, "");
    const rows = trainedRows({ name: `${module}.trainable_tokens_delta`, table, ids });
    const fileName = (name: string): string => `base_model.model.${name}`;
    // PEFT writes what a tied head uses once more under the head's name; it looks for lm_head in models that write texts only.
    const writes = target.model.labelHead === undefined && !target.model.maskKind(0).isBidirectional;
    const copies = target.model.tieWordEmbeddings && writes ? [fileName("lm_head.trainable_tokens_delta")] : [];
    // Of T5 it writes those of both stacks, too.
    const isCopy = (name: string): boolean => name.endsWith(".trainable_tokens_delta") && name !== fileName(rows.name);
    return {
      hooks: {
        rows({ table: { name }, indices, lookUp }, build) {
          if (name !== table.name) return lookUp(indices);
          return replaceFound({ found: lookUp(indices), indices, ids, rows: build.parameter(rows) });
        },
        parameter({ spec: { name }, value }, build) {
          return name === table.name ? replaceRows({ table: value, ids, rows: build.parameter(rows) }) : value;
        },
      },
      added: [rows],
      trains: (name) => name === rows.name,
      adapter: {
        config: (baseModel) => ({
          peft_type: "TRAINABLE_TOKENS",
          task_type: "CAUSAL_LM",
          base_model_name_or_path: baseModel,
          inference_mode: true,
          token_indices: ids,
          target_modules: module,
          init_weights: true,
        }),
        fileName,
        pack: (tensors) => new Map([...tensors, ...copies.map((name) => [name, tensors.get(fileName(rows.name))!] as const)]),
        unpack: (tensors) => (tensors.has(fileName(rows.name)) ? new Map([...tensors].filter(([name]) => !isCopy(name))) : tensors),
        merge: (name, base, read) => (name === table.name ? withRows(base, ids, read(rows.name)) : undefined),
      },
    };
  },

  fromPeft(config): NewTokensConfig {
    if (Array.isArray(config.target_modules) && config.target_modules.length > 1)
      throw new UnsupportedError(
        `adapter_config.json: target_modules ${JSON.stringify(config.target_modules)}: only the embedding is supported. Merge the adapter with PEFT and load the merged model.`,
      );
    return configSchema.parse({ name: "new-tokens", tokens: config.token_indices });
  },
});

function tokenIds({ model, tokenizer }: MethodTarget, { tokens }: NewTokensConfig): number[] {
  const problems: string[] = [];
  const ids = tokens.map((token) => {
    const id = typeof token === "number" ? token : tokenizer?.idOf(token);
    if (id === undefined) problems.push(`method.tokens: ${JSON.stringify(token)} is not a token of this tokenizer. Add it there first.`);
    else if (id >= model.vocabSize)
      problems.push(
        `method.tokens: ${JSON.stringify(token)} has id ${id}; the embedding has ${model.vocabSize} rows. Give it more rows first.`,
      );
    return id ?? 0;
  });
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (problems.length === 0 && twice !== undefined) problems.push(`method.tokens: the token with id ${twice} is named twice.`);
  if (problems.length > 0) throw new ConfigError(problems);
  return ids;
}

function trainedRows({ name, table, ids }: { name: string; table: ParameterSpec; ids: readonly number[] }): AddedParameter {
  const width = table.shape[1]!;
  return {
    ...{ name, shape: [ids.length, width], kind: "embedding" },
    async initialise(_, base) {
      const { data } = await base(table.name);
      const rows = new Float32Array(ids.length * width);
      ids.forEach((id, i) => rows.set(data.subarray(id * width, (id + 1) * width), i * width));
      return rows;
    },
  };
}

interface RowValues {
  readonly ids: readonly number[];
  /** [ids, C]. */
  readonly rows: Value;
}

const idVector = ({ ids, rows: { graph } }: RowValues): Value =>
  concat(
    ids.map((id) => reshape(constant(graph, id, "int64"), [1])),
    0,
  );

/** Rows that were looked up, [..., C], with the trained ones in their places. */
function replaceFound({ found, indices, ...values }: RowValues & { found: Value; indices: Value }): Value {
  const { graph } = found;
  const isToken = equal(reshape(indices, [...indices.shape, 1]), idVector(values)); // [..., ids]
  const selector = where(isToken, constant(graph, 1), constant(graph, 0));
  const isAny = greaterOrEqual(reduceSum(selector, [-1], { keepDims: true }), constant(graph, 0.5));
  return where(isAny, matmul(selector, values.rows), found);
}

/** The whole table [V, C] with the trained rows in their places. */
function replaceRows({ table, ...values }: RowValues & { table: Value }): Value {
  const { graph } = table;
  const [V] = table.shape;
  const ones = reshape(
    concat(
      values.ids.map(() => reshape(constant(graph, 1), [1])),
      0,
    ),
    [values.ids.length, 1],
  );
  const kept = add(mul(scatterAddRows(idVector(values), ones, V!), -1), 1); // [V, 1]
  return add(mul(table, kept), scatterAddRows(idVector(values), values.rows, V!));
}

function withRows(base: ParameterData, ids: readonly number[], rows: ParameterData): ParameterData {
  const width = base.shape[1]!;
  const data = Float32Array.from(base.data);
  ids.forEach((id, i) => data.set(rows.data.subarray(i * width, (i + 1) * width), id * width));
  return { shape: base.shape, data };
}
