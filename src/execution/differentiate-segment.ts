/**
 * Splits one segment into a forward and a backward graph. The backward graph takes the segment's own inputs, the values
 * that were kept, and the gradients of the outputs; everything else it recomputes. With activation checkpointing nothing
 * is kept, so the backward graph repeats the whole forward pass (Chen et al. 2016, https://arxiv.org/abs/1604.06174).
 */
import type { Segment } from "../models/segments.ts";
import { gradients } from "../tensor/autodiff.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import { extract } from "../tensor/passes/extract.ts";
import { dimNames } from "../tensor/shape.ts";
import { gradientOutputs } from "./parameter-gradients.ts";

export interface DifferentiatedSegment {
  /** Segment inputs -> its outputs and the kept values. */
  readonly forward: Graph;
  /** Absent when nothing below or in this segment is trained. */
  readonly backward?: BackwardSegment;
}

export interface BackwardSegment {
  /** -> `<input>.gradient` of the inputs that were asked for, and the gradient of every trained parameter (`gradientOutputs`). */
  readonly graph: Graph;
  /** Names of outputs of the forward graph that the backward graph reads: `keep.0`, `keep.1`, ... */
  readonly kept: readonly string[];
}

export interface DifferentiateOptions {
  readonly segment: Segment;
  readonly trains: (parameter: string) => boolean;
  /** Graph inputs whose gradients are needed, since something before this segment is trained: `hidden`, `encoderHidden`, the position bias. */
  readonly inputGradients: readonly string[];
  readonly keepNothing: boolean;
}

/** Input of a backward graph with the gradient of one of the segment's outputs. */
export const outputGradientName = (output: string): string => `output.${output}.gradient`;

export function differentiateSegment({ segment, trains, inputGradients, keepNothing }: DifferentiateOptions): DifferentiatedSegment {
  const { graph } = segment;
  const ownOutputs = [...graph.outputs];
  const trained = [...segment.parameters].filter(([, spec]) => trains(spec.name)).map(([local]) => local);
  const targets = new Map<string, Value>();
  for (const name of inputGradients) targets.set(`${name}.gradient`, graph.inputs.get(name)!);
  for (const local of trained) targets.set(local, graph.inputs.get(local)!);
  if (targets.size === 0) return { forward: extract({ graph, inputs: new Map(), outputs: new Map(ownOutputs) }) };

  const kept = keepNothing ? [] : keptOfKnownSize(graph);
  const candidates = new Map(kept.map((value, i) => [`keep.${i}`, value] as const));
  const seeds = ownOutputs.map(([name, value]) => ({
    value,
    gradient: graph.input(outputGradientName(name), { dtype: "float32", shape: value.shape }),
  }));
  const found = gradients({ graph, outputs: seeds, wrt: [...targets.values()] });
  const wanted = new Map<string, Value>();
  [...targets.keys()].forEach((name, i) => {
    const gradient = found[i];
    if (!gradient) return;
    if (segment.parameters.has(name)) for (const [output, value] of gradientOutputs(name, gradient)) wanted.set(output, value);
    else wanted.set(name, gradient);
  });
  const backward = extract({ graph, inputs: candidates, outputs: wanted });
  const read = [...candidates.keys()].filter((name) => backward.inputs.has(name));
  const outputs = new Map<string, Value>([...ownOutputs, ...read.map((name) => [name, candidates.get(name)!] as const)]);
  return { forward: extract({ graph, inputs: new Map(), outputs }), backward: { graph: backward, kept: read } };
}

/** Room for a kept value is made before the graph runs, so that its size must not hang on what the graph finds. */
function keptOfKnownSize({ kept, nodes }: Graph): Value[] {
  const decided = new Set(nodes.flatMap(({ op, attributes }) => op.decides?.names(attributes) ?? []));
  return [...kept].filter(({ shape }) => !shape.flatMap(dimNames).some((name) => decided.has(name)));
}
