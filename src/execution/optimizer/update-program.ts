/** An update rule, compiled: one call makes new weights and new state out of the present ones and the gradient, in place. */
import type { Backend, HostTensor } from "../../backends/backend.ts";
import type { Scalars, UpdateRule } from "../../optimizers/optimizer.ts";
import { Graph, type Node, type Value } from "../../tensor/graph.ts";
import { mul } from "../../tensor/ops/index.ts";
import { type Dim, dim, type Shape } from "../../tensor/shape.ts";
import type { ParameterGroup } from "../weights/parameter-store.ts";

export interface UpdateCall {
  readonly parameter: HostTensor;
  readonly gradient: HostTensor;
  readonly state: Readonly<Record<string, HostTensor>>;
  readonly hyper: Scalars;
  readonly gradientScale: number;
}

export interface UpdateProgram {
  readonly hyperNames: readonly string[];
  /** Changes `parameter` and `state`. */
  run(call: UpdateCall): Promise<void>;
}

/** @param rank of the parameters, where the rule works on whole tensors */
export async function compileUpdate(
  backend: Backend,
  { rule, config, rank, name }: { rule: UpdateRule; config: unknown; rank: number; name: string },
): Promise<UpdateProgram> {
  const shape: Dim[] = rule.works === "on elements" ? [dim("size")] : Array.from({ length: rank }, (_, axis) => dim(`d${axis}`));
  const hyperNames = Object.keys(
    rule.hyperValues(config, { step: 1, learningRate: 1, weightDecay: 0, memory: {}, shape: shape.map(() => 1) }),
  );
  const graph = new Graph();
  buildUpdates(graph, { rule, config, hyperNames, parameters: [{ shape, suffix: "" }] });
  const executable = await backend.compile(graph, { name, asElementLoop: rule.works === "on elements" });
  const aside = executable.overwritesOperands ? [] : [...graph.outputs.keys()].filter((output) => !mayOverwrite(graph, output));
  const memory = new Map(aside.map((output) => [output, new Float32Array(0)]));
  const placeAside = (output: string, { dtype, dims, data }: HostTensor): HostTensor => {
    if (memory.get(output)!.length < data.length) memory.set(output, new Float32Array(data.length));
    return { dtype, dims, data: memory.get(output)!.subarray(0, data.length) };
  };
  return {
    hyperNames,
    async run({ parameter, gradient, state, hyper, gradientScale }) {
      const scalars = Object.fromEntries(Object.entries({ ...hyper, gradientScale }).map(([name, value]) => [name, scalar(value)]));
      const changed: Record<string, HostTensor> = { parameter, ...state };
      const results = { ...changed, ...Object.fromEntries(aside.map((output) => [output, placeAside(output, changed[output]!)])) };
      await executable.run({ ...changed, gradient, ...scalars }, results);
      for (const output of aside) (changed[output]!.data as Float32Array).set(results[output]!.data as Float32Array);
    },
  };
}

export const scalar = (value: number): HostTensor => ({ dtype: "float32", dims: [], data: Float32Array.of(value) });

interface StepOfGroup {
  readonly rule: UpdateRule;
  readonly group: ParameterGroup;
  /** Of the parameter, where the rule works on whole tensors. */
  readonly shape: readonly number[];
}

/** A rule's scalars in one step, for the parameters of a group. @param at the optimizer's learning rate, before the group's factor */
export function hyperFor(
  { rule, group, shape }: StepOfGroup,
  config: unknown,
  at: { readonly step: number; readonly learningRate: number; readonly memory: Scalars },
): Scalars {
  const ownDecay = (config as { readonly weightDecay?: number }).weightDecay ?? 0;
  return rule.hyperValues(config, {
    ...at,
    learningRate: at.learningRate * group.learningRateFactor,
    weightDecay: group.weightDecay ?? (group.decays ? ownDecay : 0),
    shape: rule.works === "on tensors" ? shape : [],
  });
}

interface UpdateGraph {
  readonly rule: UpdateRule;
  readonly config: unknown;
  readonly hyperNames: readonly string[];
  /** Of every parameter that is updated, with what ends the names of its inputs and outputs. */
  readonly parameters: readonly { readonly shape: Shape; readonly suffix: string }[];
}

/** The rule on each of the parameters, which share its scalars. */
export function buildUpdates(graph: Graph, { rule, config, hyperNames, parameters }: UpdateGraph): void {
  const input = (name: string, shape: Shape): Value => graph.input(name, { dtype: "float32", shape });
  const hyper = Object.fromEntries(hyperNames.map((name) => [name, input(name, [])]));
  const gradientScale = input("gradientScale", []);
  for (const { shape, suffix } of parameters) {
    const parameter = input(`parameter${suffix}`, shape);
    const gradient = mul(input(`gradient${suffix}`, shape), gradientScale);
    const own = Object.entries(rule.state(shape, config));
    const state = Object.fromEntries(own.map(([name, of]) => [name, input(`${name}${suffix}`, of.shape)]));
    const updated = rule.buildUpdate({ graph, parameter, gradient, state, hyper }, config);
    graph.output(`parameter${suffix}`, updated.parameter);
    for (const [name, value] of Object.entries(updated.state)) graph.output(`${name}${suffix}`, value);
  }
}

/** Operations that have read an element of their operands before they write that element of the result. */
const elementWise = new Set(["add", "sub", "mul", "div"]);

/** True if the result of this name may be written over the operand of the same name while the graph runs: whatever else reads the operand has done so before. */
export function mayOverwrite(graph: Graph, name: string): boolean {
  const operand = graph.inputs.get(name)!;
  const { producer } = graph.outputs.get(name)!;
  if (!producer || !elementWise.has(producer.op.name)) return false;
  const before = ancestors(producer);
  return graph.nodes.every((node) => !node.inputs.includes(operand) || before.has(node));
}

/** A node and all that it depends on. */
function ancestors(node: Node, found = new Set<Node>()): Set<Node> {
  found.add(node);
  for (const { producer } of node.inputs) if (producer && !found.has(producer)) ancestors(producer, found);
  return found;
}
