/** Opens the small checkpoints under tests/conformance/reference and builds engines on them. */

import type { Backend } from "../../src/backends/backend.ts";
import { createOnnxBackend } from "../../src/backends/onnx/backend.ts";
import { createRandom } from "../../src/base/random.ts";
import { lookUp } from "../../src/base/registry.ts";
import type { Batch } from "../../src/data/batch.ts";
import { createOptimizer } from "../../src/execution/optimizer/create-optimizer.ts";
import type { ReferenceModel } from "../../src/execution/reference-model.ts";
import type { TopPredictions } from "../../src/execution/top-predictions.ts";
import { SegmentedTrainingEngine } from "../../src/execution/training-engine.ts";
import { weightsOf } from "../../src/execution/weights/checkpoint-weights.ts";
import { loadParameters } from "../../src/execution/weights/parameter-store.ts";
import { openQuantisedBase, type QuantisedCache, type QuantizationConfig } from "../../src/execution/weights/quantised-base.ts";
import type { AttachedMethod, MethodTarget } from "../../src/methods/method.ts";
import { createModel } from "../../src/models/families/registry.ts";
import { type HeadChoice, withLabelHead } from "../../src/models/label-heads.ts";
import type { ModelHooks } from "../../src/models/segment-builder.ts";
import { describeModel } from "../../src/models/segments.ts";
import { checkTensors, findTensor, openCheckpoint } from "../../src/models/weights/checkpoint.ts";
import { causalLm } from "../../src/objectives/causal-lm.ts";
import type { LabelObjective, Objective } from "../../src/objectives/objective.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import { optimizers } from "../../src/optimizers/registry.ts";
import { createGrouping, type GroupConfig } from "../../src/optimizers/settings/parameter-groups.ts";
import { openFolder } from "../../src/platform/node/files.ts";
import { loadOnnxRuntime } from "../../src/platform/node/onnxruntime.ts";

export const reference = new URL("./reference/", import.meta.url).pathname;

export const backend = createOnnxBackend({ runtime: (await loadOnnxRuntime()) as never, provider: "cpu" });

export interface OpenOptions {
  readonly folder: string;
  /** The CPU where absent. */
  readonly on?: Backend;
  attach(target: MethodTarget): AttachedMethod;
  /** adamw where it names none. */
  readonly optimizer?: Readonly<Record<string, unknown>>;
  readonly activationCheckpointing?: "none" | "block";
  readonly precision?: "float32" | "float16";
  readonly quantization?: QuantizationConfig;
  readonly cache?: QuantisedCache;
  readonly objective?: { readonly objective: Objective | LabelObjective; readonly config: unknown };
  readonly regularisers?: readonly ModelHooks[];
  /** For labels, instead of the vocabulary. */
  readonly head?: HeadChoice;
  /** The frozen model that the objective compares with, made from the one that is trained. */
  reference?(trained: ReferenceModel): ReferenceModel;
  readonly referenceTop?: TopPredictions;
}

const plainObjective = { objective: causalLm as Objective, config: { name: "causal-lm", labelSmoothing: 0 } as unknown };

export async function openTinyModel(options: OpenOptions) {
  const { folder, attach, on = backend, activationCheckpointing = "none", objective = plainObjective } = options;
  const checkpoint = await openCheckpoint(openFolder(folder));
  const bare = createModel(checkpoint.config, { holds: (tensor) => findTensor(checkpoint, tensor) !== undefined });
  const model = options.head ? withLabelHead(bare, options.head) : bare;
  const { parameters, linears } = describeModel(model);
  checkTensors(checkpoint, parameters);
  const source = weightsOf(checkpoint);
  const quantised =
    options.quantization &&
    (await openQuantisedBase({ config: options.quantization, linears, source, folder: openFolder(folder), cache: options.cache }));
  const method = attach({ model, parameters, linears, ...(quantised && { quantised }) });
  const named: Readonly<Record<string, unknown>> = { name: "adamw", ...options.optimizer };
  const optimizer = lookUp("optimizer", optimizers as readonly Optimizer[], String(named.name));
  const config = optimizer.configSchema.parse(named) as GroupConfig;
  const store = await loadParameters({
    specs: parameters,
    method,
    ...{ source, quantised },
    random: createRandom(1),
    storable: on.storable,
    grouping: createGrouping(config),
  });
  const trainedOptimizer = await createOptimizer({ backend: on, optimizer, config, store });
  const engine = new SegmentedTrainingEngine({
    ...{
      backend: on,
      model,
      method,
      regularisers: options.regularisers ?? [],
      store,
      activationCheckpointing,
      precision: options.precision,
    },
    ...{ objective: objective.objective, objectiveConfig: objective.config },
    reference: options.reference?.({ model, method, store }),
    referenceTop: options.referenceTop,
    optimizer: trainedOptimizer,
  });
  return { checkpoint, model, method, store, trainedOptimizer, engine };
}

/** Rows of equal length, one document each, every next token supervised. */
export function batchOf(rows: readonly (readonly number[])[]): Batch {
  const T = rows[0]!.length;
  const documents = rows.flatMap((row, b) => row.map(() => b));
  return packedBatch({
    inputIds: rows.flat(),
    positionIds: rows.flatMap((row) => row.map((_, t) => t)),
    documentIds: documents,
    batchSize: rows.length,
    tokens: T,
  });
}

export function packedBatch({ inputIds, positionIds, documentIds, batchSize, tokens }: PackedRows): Batch {
  const targets = inputIds.flatMap((_, i) =>
    i + 1 < inputIds.length && (i + 1) % tokens !== 0 && documentIds[i] === documentIds[i + 1] ? [i] : [],
  );
  return {
    ...{ batchSize, tokens, tokenCount: inputIds.length },
    inputIds: Int32Array.from(inputIds),
    positionIds: Int32Array.from(positionIds),
    documentIds: Int32Array.from(documentIds),
    targetPositions: Int32Array.from(targets),
    targetLabels: Int32Array.from(targets, (i) => inputIds[i + 1]!),
  };
}

interface PackedRows {
  readonly inputIds: readonly number[];
  readonly positionIds: readonly number[];
  readonly documentIds: readonly number[];
  readonly batchSize: number;
  readonly tokens: number;
}
