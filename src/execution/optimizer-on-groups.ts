/** Runs an optimizer's update graph on the flat parameter groups, in pieces, so that its temporary memory stays small. */
import type { Backend, HostTensor } from "../backends/backend.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { Graph, type Value } from "../tensor/graph.ts";
import { mul } from "../tensor/ops/index.ts";
import { dim } from "../tensor/shape.ts";
import type { ParameterGroup } from "./parameter-store.ts";

/** Elements that one call updates. */
const pieceSize = 1 << 20;

/** State vectors by `<group index>.<state name>`. */
export type OptimizerState = Map<string, Float32Array>;

export interface OptimizerOnGroups {
  readonly stateBytes: number;
  /** @param step counts from 1 */
  update(options: { learningRate: number; step: number; gradientScale: number }): Promise<void>;
  readState(): OptimizerState;
  writeState(state: ReadonlyMap<string, Float32Array>): void;
}

export interface OptimizerOnGroupsOptions {
  readonly backend: Backend;
  readonly optimizer: Optimizer;
  readonly config: unknown;
  readonly groups: readonly ParameterGroup[];
}

export async function createOptimizerOnGroups({
  backend,
  optimizer,
  config,
  groups,
}: OptimizerOnGroupsOptions): Promise<OptimizerOnGroups> {
  const hyperNames = Object.keys(optimizer.hyperValues(config, { step: 1, learningRate: 1, decays: true }));
  const executable = await backend.compile(buildGraph(optimizer, { config, hyperNames }), { name: `${optimizer.name} update` });
  const states = groups.map(({ parameters }) => new Map(optimizer.stateNames.map((name) => [name, new Float32Array(parameters.length)])));

  return {
    stateBytes: groups.reduce((sum, { parameters }) => sum + optimizer.stateNames.length * parameters.byteLength, 0),
    async update({ learningRate, step, gradientScale }) {
      for (const [index, group] of groups.entries()) {
        const hyper = optimizer.hyperValues(config, { step, learningRate: learningRate * group.learningRateFactor, decays: group.decays });
        const scalars = Object.fromEntries(Object.entries({ ...hyper, gradientScale }).map(([name, value]) => [name, scalar(value)]));
        for (let start = 0; start < group.parameters.length; start += pieceSize) {
          const piece = (vector: Float32Array): HostTensor => {
            const data = vector.subarray(start, start + pieceSize);
            return { dtype: "float32", dims: [data.length], data };
          };
          const state = Object.fromEntries([...states[index]!].map(([name, vector]) => [name, piece(vector)]));
          // Results are written over their operands: each element is read before it is written, and no other reads it.
          const inPlace = { parameter: piece(group.parameters), ...state };
          await executable.run({ ...inPlace, gradient: piece(group.gradients), ...scalars }, inPlace);
        }
      }
    },
    readState: () => new Map(states.flatMap((state, index) => [...state].map(([name, vector]) => [`${index}.${name}`, vector] as const))),
    writeState(saved) {
      for (const [index, state] of states.entries()) for (const [name, vector] of state) vector.set(saved.get(`${index}.${name}`) ?? []);
    },
  };
}

const scalar = (value: number): HostTensor => ({ dtype: "float32", dims: [], data: Float32Array.of(value) });

function buildGraph(optimizer: Optimizer, { config, hyperNames }: { config: unknown; hyperNames: readonly string[] }): Graph {
  const graph = new Graph();
  const vector = (name: string): Value => graph.input(name, { dtype: "float32", shape: [dim("size")] });
  const number = (name: string): Value => graph.input(name, { dtype: "float32", shape: [] });
  const parameter = vector("parameter");
  const gradient = mul(vector("gradient"), number("gradientScale"));
  const state = Object.fromEntries(optimizer.stateNames.map((name) => [name, vector(name)]));
  const hyper = Object.fromEntries(hyperNames.map((name) => [name, number(name)]));
  const updated = optimizer.buildUpdate({ graph, parameter, gradient, state, hyper }, config);
  graph.output("parameter", updated.parameter);
  for (const [name, value] of Object.entries(updated.state)) graph.output(name, value);
  return graph;
}
