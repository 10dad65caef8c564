/**
 * A frozen second model whose predictions an objective compares with: the teacher of a distillation, or the model as it
 * was before training. Its logits are made inside the head's graph, a few rows at a time, and never stored.
 */
import type { HostTensor } from "../backends/backend.ts";
import type { AttachedMethod } from "../methods/method.ts";
import { logitsOf } from "../models/layers/vocabulary.ts";
import type { Model } from "../models/model.ts";
import { SegmentBuilder } from "../models/segment-builder.ts";
import { namedTensors } from "../models/storage.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { dim } from "../tensor/shape.ts";
import { type ParameterStore, storageIn } from "./weights/parameter-store.ts";

export interface ReferenceModel {
  readonly model: Model;
  readonly method: AttachedMethod;
  readonly store: Pick<ParameterStore, "parameters">;
}

/** A model as it is now. What is trained is copied, what is frozen is shared: beside an adapter this costs next to nothing. */
export function snapshot({ model, method, store }: ReferenceModel): ReferenceModel {
  const parameters = new Map(
    [...store.parameters].map(([name, { gradient, ...stored }]) => {
      const data = gradient ? (stored.tensor.data as Float32Array).slice() : stored.tensor.data;
      return [name, { ...stored, tensor: { ...stored.tensor, data } }] as const;
    }),
  );
  return { model, method, store: { parameters } };
}

const inputPrefix = "reference.";

/** referenceRows [N, C'] -> logits [N, V], in a graph that the trained model's head stands in. */
export function buildReferenceLogits({ model, method, store }: ReferenceModel, graph: Graph): Value {
  const build = new SegmentBuilder({
    ...{ prefix: "", hooks: [method.hooks], isTraining: false, storageOf: storageIn(store) },
    shared: { graph, inputName: (parameter) => inputPrefix + parameter },
  });
  const rows = graph.input("referenceRows", { dtype: "float32", shape: [dim("rows"), model.hiddenSize] });
  return logitsOf(model.head(build, rows), build);
}

/** The reference model's parameters among a graph's inputs. */
export function referenceInputs({ store }: ReferenceModel, graph: Graph): Record<string, HostTensor> {
  const inputs = [...store.parameters].flatMap(([name, stored]) => Object.entries(namedTensors(`${inputPrefix}${name}`, stored)));
  return Object.fromEntries(inputs.filter(([name]) => graph.inputs.has(name)));
}
