/**
 * Runs an optimizer where a device keeps weights and gradients: its update rules as graphs over tensors there, with state that is made
 * there. What crosses is a handful of scalars a call. Rules that work on elements move several parameters in one call, others one.
 */
import type { DeviceExecutable, DeviceMemory, DeviceTensor, HostTensor, Tensor } from "../../backends/backend.ts";
import type { Optimizer, Scalars, StateTensor, UpdateRule } from "../../optimizers/optimizer.ts";
import { count } from "../../tensor/ops/define.ts";
import { DevicePrograms, floats, inPieces, sizesOf } from "../device-programs.ts";
import type { ParameterGroup, ParameterStore } from "../weights/parameter-store.ts";
import { type OptimizerState, rememberedIn, rememberNext, restorePart, type TrainedOptimizer } from "./optimizer-state.ts";
import { buildUpdates, hyperFor, scalar } from "./update-program.ts";

export interface OptimizerOnDeviceOptions {
  readonly memory: DeviceMemory;
  readonly optimizer: Optimizer;
  readonly config: unknown;
  readonly store: Pick<ParameterStore, "groups" | "weights" | "gradients">;
}

interface Member {
  readonly name: string;
  readonly shape: readonly number[];
  readonly state: ReadonlyMap<string, StateTensor & { readonly shape: readonly number[] }>;
}

/** Parameters that one call moves. */
interface Unit {
  readonly group: ParameterGroup;
  readonly rule: UpdateRule;
  readonly members: readonly Member[];
}

export function createOptimizerOnDevice({ memory, optimizer, config, store }: OptimizerOnDeviceOptions): TrainedOptimizer {
  const { weights, gradients } = store;
  const programs = new DevicePrograms(memory);
  const rules: UpdateRule[] = [];
  const units = store.groups.flatMap((group) => divide(group, { optimizer, config }));
  const members = units.flatMap((unit) => unit.members);
  /** By `<parameter>.<state>`; empty until a step or a checkpoint fills it. */
  const state = new Map<string, DeviceTensor>();
  let remembered: Scalars = {};

  async function begin(): Promise<void> {
    if (state.size > 0) return;
    await weights.toDevice(memory);
    for (const { name: parameter, state: own } of members) {
      for (const [name, { shape, start }] of own)
        state.set(
          `${parameter}.${name}`,
          start === "parameter" ? await programs.copy(weights.at(parameter)!) : await programs.zeros(shape),
        );
    }
  }

  function compile(rule: UpdateRule, ranks: readonly number[], hyperNames: readonly string[]): Promise<DeviceExecutable> {
    if (!rules.includes(rule)) rules.push(rule);
    return programs.compile(`${optimizer.name} update ${rules.indexOf(rule)} of ranks ${ranks}`, (graph) =>
      buildUpdates(graph, { rule, config, hyperNames, parameters: ranks.map((rank, i) => ({ shape: sizesOf(i, rank), suffix: `.${i}` })) }),
    );
  }

  async function updateUnit({ rule, members }: Unit, { hyper, gradientScale }: { hyper: Scalars; gradientScale: number }): Promise<void> {
    const ranks = members.map(({ shape }) => shape.length);
    const inputs: Record<string, Tensor> = {};
    for (const [name, value] of Object.entries({ ...hyper, gradientScale })) inputs[name] = scalar(value);
    for (const [i, { name, state: own }] of members.entries()) {
      inputs[`parameter.${i}`] = weights.at(name)!;
      inputs[`gradient.${i}`] = gradients.at(name)!;
      for (const part of own.keys()) inputs[`${part}.${i}`] = state.get(`${name}.${part}`)!;
    }
    const results = await (await compile(rule, ranks, Object.keys(hyper))).run(inputs);
    for (const [i, { name, state: own }] of members.entries()) {
      weights.put(name, results[`parameter.${i}`]!);
      for (const part of own.keys()) {
        state.get(`${name}.${part}`)!.dispose();
        state.set(`${name}.${part}`, results[`${part}.${i}`]!);
      }
    }
  }

  async function readState(): Promise<OptimizerState> {
    await begin();
    const found = new Map<string, Float32Array>();
    for (const [name, tensor] of state) found.set(name, (await memory.download(tensor)).data as Float32Array);
    for (const [name, value] of Object.entries(remembered)) found.set(`memory.${name}`, Float32Array.of(value));
    return found;
  }

  async function writeState(saved: OptimizerState): Promise<void> {
    const read: [string, HostTensor][] = members.flatMap(({ name: parameter, state: own }) =>
      [...own].map(([name, { shape }]): [string, HostTensor] => {
        const data = new Float32Array(count(shape));
        restorePart(`${parameter}.${name}`, { part: data, saved });
        return [`${parameter}.${name}`, { dtype: "float32", dims: shape, data }];
      }),
    );
    for (const [name, tensor] of read) {
      state.get(name)?.dispose();
      state.set(name, await memory.upload(tensor));
    }
    remembered = rememberedIn(saved);
  }

  async function writeEvaluationWeights(into: readonly Float32Array[]): Promise<void> {
    await begin();
    for (const { group, members } of units) {
      const { offset } = group.layout.get(members[0]!.name)!;
      const ranks = members.map(({ shape }) => shape.length);
      const parts = [...members[0]!.state.keys()];
      const program = await programs.compile(`${optimizer.name} evaluation weights of ranks ${ranks}`, (graph) => {
        for (const [i, rank] of ranks.entries()) {
          const values = Object.fromEntries(parts.map((part) => [part, floats(graph, `${part}.${i}`, rank)]));
          const input = { graph, parameter: floats(graph, `parameter.${i}`, rank), state: values };
          graph.output(`weights.${i}`, optimizer.buildEvaluationWeights!(input, config));
        }
      });
      const given = members.flatMap(({ name }, i) => [
        [`parameter.${i}`, weights.at(name)!] as const,
        ...parts.map((part) => [`${part}.${i}`, state.get(`${name}.${part}`)!] as const),
      ]);
      const results = await program.run(Object.fromEntries(given));
      let at = offset;
      for (const [i, { shape }] of members.entries()) {
        const result = results[`weights.${i}`]!;
        into[store.groups.indexOf(group)]!.set((await memory.download(result)).data as Float32Array, at);
        at += count(shape);
        result.dispose();
      }
    }
  }

  return {
    isOnDevice: true,
    stateBytes: members.reduce(
      (sum, { state: own }) => sum + [...own.values()].reduce((bytes, { shape }) => bytes + 4 * count(shape), 0),
      0,
    ),
    async update({ learningRate, step, gradientScale }) {
      await begin();
      await weights.toDevice(memory);
      await gradients.toDevice(memory);
      remembered = rememberNext(optimizer, config, { before: remembered, step, learningRate });
      for (const unit of units) {
        const hyper = hyperFor({ ...unit, shape: unit.members[0]!.shape }, config, { step, learningRate, memory: remembered });
        await updateUnit(unit, { hyper, gradientScale });
      }
    },
    readState,
    writeState,
    writeEvaluationWeights: optimizer.buildEvaluationWeights && writeEvaluationWeights,
  };
}

/** Units of a group: neighbours with one rule on elements together, everything else by itself. */
function divide(group: ParameterGroup, { optimizer, config }: { optimizer: Optimizer; config: unknown }): Unit[] {
  const runs: { readonly rule: UpdateRule; readonly members: Member[] }[] = [];
  for (const [name, { spec }] of group.layout) {
    const rule = optimizer.ruleFor(spec, config);
    const member = { name, shape: spec.shape, state: new Map(Object.entries(rule.state(spec.shape, config))) as Member["state"] };
    const last = runs.at(-1);
    if (last?.rule === rule && rule.works === "on elements") last.members.push(member);
    else runs.push({ rule, members: [member] });
  }
  return runs.flatMap(({ rule, members }) => [...inPieces(members)].map((members) => ({ group, rule, members })));
}
