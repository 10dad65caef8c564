/** The configuration of a run: one strict schema, composed of what every registered method, objective, optimizer and schedule declares. */
import { z } from "zod";
import { ConfigError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { formats } from "../data/formats/registry.ts";
import { textMetrics } from "../evaluation/task-metrics/registry.ts";
import type { QuantizationConfig } from "../execution/weights/quantised-base.ts";
import { methods } from "../methods/registry.ts";
import { quantisationFormats } from "../models/quantisation/registry.ts";
import { objectives } from "../objectives/registry.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { optimizers } from "../optimizers/registry.ts";
import { schedules } from "../optimizers/schedules/registry.ts";
import type { GroupConfig } from "../optimizers/settings/parameter-groups.ts";
import { tasks } from "../tasks/registry.ts";
import { weightAverageSchema } from "../trainers/weight-average.ts";

const files = z.union([z.string(), z.array(z.string()).min(1)]);

const data = z
  .strictObject({
    train: files.describe("Files to learn from: JSONL, JSON, CSV, Parquet or text; a path, a glob or a list."),
    validation: files.optional().describe("Files to validate on. Without them a share of the training rows is held out."),
    test: files.optional().describe("Files for the final comparison with the base model."),
    format: z
      .enum(["auto", ...formats.map(({ name }) => name)])
      .default("auto")
      .describe("Row format; auto looks at the first rows and says what it found."),
    validationShare: z.number().min(0).lt(1).default(0.1).describe("Share of the training rows held out for validation, by prompt."),
    testShare: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .describe("Share held out for the final comparison; without one the validation rows serve."),
    lossOn: z
      .enum(["assistant", "last-assistant", "all"])
      .default("assistant")
      .describe("Which tokens are learned: all assistant turns, the last one, or everything."),
    maxLength: z
      .int()
      .min(8)
      .optional()
      .describe("Longest sequence in tokens. Default: 512, or the model's own limit where that is lower."),
    packing: z.boolean().default(true).describe("Several documents in one sequence; attention stays inside each."),
    lengthBucketing: z.boolean().default(true).describe("Without packing: batches of similar lengths."),
    overlong: z.enum(["truncate", "drop", "error"]).default("truncate").describe("What happens to a row longer than maxLength."),
  })
  .describe("What is learned from, and what is held out.");

const training = z.strictObject({
  epochs: z.number().positive().optional().describe("Passes over the training data. Instead of maxSteps; default 1."),
  maxSteps: z.int().positive().optional().describe("Optimizer steps. Instead of epochs."),
  batchSize: z.int().positive().default(1).describe("Sequences in a micro-batch."),
  gradientAccumulationSteps: z.int().positive().default(1).describe("Micro-batches in an optimizer step."),
  maxGradNorm: z.number().min(0).default(1).describe("Gradients are clipped to this global norm; 0 turns clipping off."),
  seed: z.int().min(0).default(42).describe("Seed of the split, the order, the initial adapter and the noise."),
  evalEvery: z.int().positive().optional().describe("Steps between validations. Default: ten validations in a run."),
  saveEvery: z.int().positive().optional().describe("Steps between checkpoints. Default: as evalEvery."),
  keepLast: z.int().positive().default(2).describe("Checkpoints to keep beside the best."),
  logEvery: z.int().positive().default(1).describe("Steps between lines where the output is not a terminal."),
  earlyStopping: z
    .strictObject({
      patience: z.int().positive().default(3).describe("Validations without a gain after which training stops."),
      minDelta: z.number().min(0).default(0).describe("A gain smaller than this does not count, nats."),
    })
    .optional()
    .describe("Stop when validation no longer improves; the best checkpoint is restored."),
  plateau: z
    .strictObject({
      factor: z.number().gt(0).lt(1).default(0.5).describe("The learning rate is multiplied by this."),
      patience: z.int().positive().default(2).describe("Validations without a gain after which that happens."),
    })
    .optional()
    .describe("Lower the learning rate when validation stands still."),
  average: weightAverageSchema
    .optional()
    .describe("Evaluate and save an average of the weights over the steps instead of the last weights."),
  neftuneNoiseAlpha: z.number().min(0).default(0).describe("Noise on the embeddings (NEFTune); 5 is usual, 0 is off."),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Dropout on every residual branch; that of a head for labels stands in config.json (classifier_dropout and its like)."),
  // Not filled in where absent, so that runs of before it existed can be resumed.
  precision: z
    .enum(["float32", "float16"])
    .optional()
    .describe(
      "float16: matrix products and activations in float16, trained weights, norms, softmax and losses in float32, with dynamic loss scaling. Needs webgpu with shader-f16, or cuda. Default: float32.",
    ),
  routerAuxLossCoef: z
    .number()
    .min(0)
    .optional()
    .describe(
      "Mixtures of experts: weight of the loss that keeps the routers' choices even, which metrics show as aux_loss; 0 is off. Default: router_aux_loss_coef of config.json where that says output_router_logits, else off.",
    ),
  activationCheckpointing: z
    .enum(["none", "block"])
    .default("none")
    .describe("block: keep only the input of every block and compute the rest again; about a sixth slower, about a quarter less memory."),
});

export const evaluationSchema = z.strictObject({
  metrics: z
    .union([z.literal("all"), z.array(z.string())])
    .default([])
    .describe(
      `The models answer held-out rows, and these metrics compare the answers with the rows': all, or some of ${textMetrics.join(", ")}.`,
    ),
  maxNewTokens: z.int().positive().default(128).describe("Longest answer in tokens."),
  maxRows: z.int().positive().default(100).describe("Held-out rows that are answered, the first of them."),
  batchSize: z.int().positive().default(8).describe("Rows that are answered at once."),
  numBeams: z.int().positive().default(1).describe("Beam search with so many beams; 1 is greedy."),
  rougeStemmer: z.boolean().default(false).describe("ROUGE compares English words without their endings, as rouge-score's use_stemmer."),
});
export type EvaluationConfig = z.output<typeof evaluationSchema>;

const update = z.strictObject({
  from: z.string().min(1).describe("Folder of the earlier run."),
  replayShare: z
    .number()
    .min(0)
    .lt(1)
    .default(0.1)
    .describe("Share of every epoch's documents that are drawn from the earlier training rows."),
  l2sp: z.number().min(0).default(0).describe("L2-SP: strength of the pull of all trained weights toward their start; 0 is off."),
  ewc: z
    .strictObject({
      strength: z.number().positive().default(1).describe("Strength of the pull."),
      documents: z.int().positive().default(64).describe("Earlier training documents on which the Fisher information is estimated."),
    })
    .optional()
    .describe("Elastic weight consolidation: weights that the earlier data depend on are held harder."),
  kl: z.number().min(0).default(0).describe("Weight of KL(before | now) on every supervised token; 0 is off."),
});

const memberOf = <Member extends { readonly configSchema: z.core.$ZodTypeDiscriminable }>(members: readonly Member[]) =>
  z.discriminatedUnion("name", members.map(({ configSchema }) => configSchema) as unknown as [z.ZodObject, ...z.ZodObject[]]);

const defaultNames = { method: "lora", objective: "causal-lm", optimizer: "adamw" } as const;

/** `optimizer: { learningRate: 1e-3 }` means the usual optimizer with another rate. */
function withDefaultNames(raw: unknown): unknown {
  if (typeof raw !== "object" || raw === null) return raw;
  const named = Object.entries(raw).map(([key, value]) => {
    const name = defaultNames[key as keyof typeof defaultNames];
    const isNameless = name && typeof value === "object" && value !== null && !Array.isArray(value) && !("name" in value);
    return [key, isNameless ? { name, ...value } : value];
  });
  return Object.fromEntries(named);
}

export const runConfigSchema = z.strictObject({
  model: z.string().min(1).describe("A folder with a Hugging Face checkpoint, or a name on the hub: org/model or org/model@revision."),
  data,
  method: memberOf(methods).prefault({ name: defaultNames.method }).describe("What is trained."),
  quantization: z
    .discriminatedUnion("format", quantisationFormats.map(({ configSchema }) => configSchema) as unknown as [z.ZodObject, ...z.ZodObject[]])
    .optional()
    .describe("Hold the frozen weights of linear layers in few bits (QLoRA); the method has to bring an adapter of its own."),
  task: memberOf(tasks).optional().describe("What is learned about a text. Default: what the model does by nature."),
  objective: memberOf(objectives).prefault({ name: defaultNames.objective }).describe("What is minimised."),
  optimizer: memberOf(optimizers).prefault({ name: defaultNames.optimizer }).describe("How parameters move."),
  schedule: memberOf(schedules).prefault({ name: "cosine", warmupRatio: 0.03 }).describe("How the learning rate changes over the run."),
  update: update.optional().describe("Continue an earlier run with new data; `tunesmith update` fills in the rest."),
  training: training.prefault({}).describe("How long and how."),
  // Not filled in where absent, so that runs of before it existed can be resumed.
  evaluation: evaluationSchema.optional().describe("Metrics of what base and tuned model write for held-out rows, beside the loss."),
  samples: z.array(z.string()).max(8).default([]).describe("Prompts that base and tuned model answer in the report."),
  device: z.enum(["auto", "cpu", "webgpu", "cuda"]).default("auto").describe("Where it runs."),
  output: z.string().min(1).describe("Folder of the run; it must not hold one already."),
});

type Named = { readonly name: string } & Readonly<Record<string, unknown>>;
export type RunConfig = Omit<
  z.output<typeof runConfigSchema>,
  "method" | "quantization" | "objective" | "task" | "optimizer" | "schedule"
> & {
  readonly method: Named;
  readonly quantization?: QuantizationConfig;
  readonly objective: Named;
  readonly task?: Named | undefined;
  readonly optimizer: Named & GroupConfig;
  readonly schedule: Named;
};

const registries: Readonly<Record<string, readonly { readonly name: string }[]>> = {
  method: methods,
  quantization: quantisationFormats,
  objective: objectives,
  task: tasks,
  optimizer: optimizers,
  schedule: schedules,
};

/** The key by which a member of a registry is chosen. */
const chosenBy = (section: PropertyKey | undefined): string => (section === "quantization" ? "format" : "name");

/** @throws ConfigError with every problem found */
export function parseRunConfig(raw: unknown): RunConfig {
  const result = runConfigSchema.safeParse(withDefaultSchedule(withDefaultNames(raw)));
  const problems = result.success ? [] : result.error.issues.flatMap((issue) => explain(issue, raw));
  const training = (raw as { training?: { epochs?: unknown; maxSteps?: unknown } } | undefined)?.training;
  if (training?.epochs !== undefined && training.maxSteps !== undefined)
    problems.push("training: epochs and maxSteps are both given; keep one.");
  if (problems.length > 0) throw new ConfigError(problems);
  return result.data as unknown as RunConfig;
}

/** Some optimizers go with another schedule than most. */
function withDefaultSchedule(raw: unknown): unknown {
  const given = raw as { optimizer?: { name?: unknown }; schedule?: unknown } | undefined;
  const optimizer = (optimizers as readonly Optimizer[]).find(({ name }) => name === given?.optimizer?.name);
  return optimizer?.defaultSchedule && given?.schedule === undefined ? { ...given, schedule: optimizer.defaultSchedule } : raw;
}

function explain(issue: z.core.$ZodIssue, raw: unknown): string[] {
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path, raw);
    return issue.keys.map((key) => {
      if (path === "" && key === "pretrain") return "pretrain: makes a new model, for which the command is tunesmith pretrain <file>.";
      const nearest = nearestName(key, known);
      return `${[...issue.path, key].join(".")}: unknown key.${nearest ? ` Did you mean "${nearest}"?` : ` Known here: ${known.join(", ")}.`}`;
    });
  }
  const registry = registries[String(issue.path[0])];
  const key = chosenBy(issue.path[0]);
  if (issue.code === "invalid_union" && registry && (issue.path.length === 1 || (issue.path.length === 2 && issue.path[1] === key))) {
    const given = valueAt(raw, [issue.path[0]!, key]);
    const names = registry.map(({ name }) => name);
    const nearest = nearestName(String(given), names);
    return [
      `${String(issue.path[0])}.${key}: ${JSON.stringify(given)} is not known.${nearest ? ` Did you mean "${nearest}"?` : ""} Known: ${names.join(", ")}.`,
    ];
  }
  const value = valueAt(raw, issue.path);
  if (value === undefined)
    return [
      `${path || "config"}: missing. ${issue.message.replace("Invalid input: expected", "Expected a").replace(", received undefined", "")}.`,
    ];
  return [`${path || "config"}: ${JSON.stringify(value)} does not fit. ${issue.message.replace("Invalid input: ", "")}.`];
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined | null)?.[key];
  return value;
}

/** Keys that the schema knows at a path. */
function knownKeys(path: readonly PropertyKey[], raw: unknown): string[] {
  const [first] = path;
  if (first === undefined) return Object.keys(runConfigSchema.shape);
  const registry = registries[String(first)] as readonly { name: string; configSchema: z.ZodObject }[] | undefined;
  let schema: unknown = registry
    ? registry.find(({ name }) => name === valueAt(raw, [first, chosenBy(first)]))?.configSchema
    : runConfigSchema.shape[first as "data"];
  for (const [i, key] of path.entries()) {
    // The place in a list says nothing: objectShape looks through lists.
    if (i > 0 && typeof key !== "number") schema = objectShape(schema, valueAt(raw, path.slice(0, i)))?.[String(key)];
  }
  return Object.keys(objectShape(schema, valueAt(raw, path)) ?? {});
}

interface AnySchema {
  readonly shape?: Record<string, unknown>;
  readonly options?: readonly { readonly shape: { readonly name: { readonly value: unknown } } & Record<string, unknown> }[];
  unwrap?(): AnySchema;
}

/** The fields of an object schema, through defaults, optionals and lists; of a choice, those of the member that the value names. */
function objectShape(schema: unknown, value: unknown): Record<string, unknown> | undefined {
  let current = schema as AnySchema | undefined;
  while (current && !current.shape && current.unwrap) current = current.unwrap();
  const { name } = (value ?? {}) as { readonly name?: unknown };
  return current?.shape ?? current?.options?.find((option) => option.shape.name.value === name)?.shape;
}
