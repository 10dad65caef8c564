/**
 * Runs an optimizer on the flat parameter groups. Parameters that move element by element are updated together, in pieces,
 * so that few calls are made and temporary memory stays small; others one at a time.
 */
import type { Backend, HostTensor } from "../../backends/backend.ts";
import type { Optimizer, Scalars, UpdateRule } from "../../optimizers/optimizer.ts";
import { blockSize } from "../../optimizers/storage/dynamic-8bit.ts";
import { Graph } from "../../tensor/graph.ts";
import { count } from "../../tensor/ops/define.ts";
import { dim } from "../../tensor/shape.ts";
import type { ParameterGroup } from "../weights/parameter-store.ts";
import {
  Coders,
  createStoredTensor,
  type OptimizerState,
  type Range,
  rememberedIn,
  rememberNext,
  restorePart,
  type StoredTensor,
  type TrainedOptimizer,
} from "./optimizer-state.ts";
import { compileUpdate, hyperFor, type UpdateProgram } from "./update-program.ts";

/** Elements that one call updates; a multiple of the block size of encoded state. */
const pieceSize = 1 << 18;

/** In the host's memory. */
export interface OptimizerOnGroups extends TrainedOptimizer {
  /** Views of the live state. */
  readState(): OptimizerState;
  writeState(state: OptimizerState): void;
}

export interface OptimizerOnGroupsOptions {
  readonly backend: Backend;
  readonly optimizer: Optimizer;
  readonly config: unknown;
  readonly groups: readonly ParameterGroup[];
}

/** Neighbours in a group that are updated together. */
interface Unit {
  readonly groupIndex: number;
  readonly group: ParameterGroup;
  readonly rule: UpdateRule;
  /** Within the group. */
  readonly range: Range;
  readonly members: readonly { readonly name: string; readonly range: Range }[];
  /** Of the parameter; [size] where the rule works on elements. */
  readonly shape: readonly number[];
}

interface LiveUnit extends Unit {
  readonly program: UpdateProgram;
  readonly state: ReadonlyMap<
    string,
    { readonly stored: StoredTensor; readonly dims: readonly number[]; readonly startsAsParameter: boolean }
  >;
}

export async function createOptimizerOnGroups({
  backend,
  optimizer,
  config,
  groups,
}: OptimizerOnGroupsOptions): Promise<OptimizerOnGroups> {
  const programs = new Map<UpdateRule, UpdateProgram[]>();
  const programFor = async ({ rule, shape: { length: rank } }: Unit): Promise<UpdateProgram> => {
    const byRank = programs.get(rule) ?? [];
    byRank[rank] ??= await compileUpdate(backend, { rule, config, rank, name: `${optimizer.name} update` });
    programs.set(rule, byRank);
    return byRank[rank];
  };
  const coders = new Coders();
  const units: LiveUnit[] = [];
  for (const unit of groups.flatMap((group, groupIndex) => divide(group, { groupIndex, optimizer, config }))) {
    units.push({ ...unit, program: await programFor(unit), state: createState(unit, { config, coders }) });
  }
  let memory: Scalars = {};
  let begun = false;

  function begin(): void {
    if (begun) return;
    begun = true;
    for (const { group, range, state } of units) {
      for (const { stored, startsAsParameter } of state.values())
        if (startsAsParameter) stored.write({ start: 0, end: range.end - range.start }, group.parameters.subarray(range.start, range.end));
    }
  }

  async function updateUnit(unit: LiveUnit, { hyper, gradientScale }: { hyper: Scalars; gradientScale: number }): Promise<void> {
    const { group, range, shape, state, program } = unit;
    for (const piece of piecesOf(unit)) {
      const at = (vector: Float32Array): Float32Array => vector.subarray(range.start + piece.start, range.start + piece.end);
      const dims = unit.rule.works === "on elements" ? [piece.end - piece.start] : shape;
      const parts = [...state].map(([name, { stored, dims: whole }]) => {
        const wanted = unit.rule.works === "on elements" ? piece : { start: 0, end: count(whole) };
        return { name, stored, wanted, tensor: float32(stored.read(wanted), unit.rule.works === "on elements" ? dims : whole) };
      });
      await program.run({
        parameter: float32(at(group.parameters), dims),
        gradient: float32(at(group.gradients), dims),
        state: Object.fromEntries(parts.map(({ name, tensor }) => [name, tensor])),
        ...{ hyper, gradientScale },
      });
      for (const { stored, wanted, tensor } of parts) stored.write(wanted, tensor.data as Float32Array);
    }
  }

  function readState(): Map<string, Float32Array | Uint8Array> {
    begin();
    const found = new Map<string, Float32Array | Uint8Array>();
    for (const { rule, members, range, state } of units) {
      for (const [name, { stored, dims }] of state) {
        for (const member of members) {
          const whole = { start: 0, end: count(dims) };
          const of = rule.works === "on tensors" ? whole : { start: member.range.start - range.start, end: member.range.end - range.start };
          for (const [suffix, part] of stored.parts(of)) found.set(`${member.name}.${name}${suffix}`, part);
        }
      }
    }
    for (const [name, value] of Object.entries(memory)) found.set(`memory.${name}`, Float32Array.of(value));
    return found;
  }

  const evaluation = optimizer.buildEvaluationWeights && (await backend.compile(evaluationGraph(optimizer, config)));

  return {
    isOnDevice: false,
    stateBytes: units.reduce((sum, { state }) => sum + [...state.values()].reduce((bytes, { stored }) => bytes + stored.sizeBytes, 0), 0),
    async update({ learningRate, step, gradientScale }) {
      begin();
      memory = rememberNext(optimizer, config, { before: memory, step, learningRate });
      for (const unit of units) await updateUnit(unit, { hyper: hyperFor(unit, config, { step, learningRate, memory }), gradientScale });
    },
    readState,
    writeState(saved) {
      for (const [name, part] of readState()) if (!name.startsWith("memory.")) restorePart(name, { part, saved });
      memory = rememberedIn(saved);
    },
    writeEvaluationWeights:
      evaluation &&
      (async (into) => {
        begin();
        for (const unit of units) {
          const { groupIndex, group, range, state } = unit;
          for (const piece of piecesOf(unit)) {
            const at = (vector: Float32Array): HostTensor =>
              float32(vector.subarray(range.start + piece.start, range.start + piece.end), [piece.end - piece.start]);
            const stored = Object.fromEntries(
              [...state].map(([name, { stored }]) => [name, float32(stored.read(piece), [piece.end - piece.start])]),
            );
            await evaluation.run({ parameter: at(group.parameters), ...stored }, { weights: at(into[groupIndex]!) });
          }
        }
      }),
  };
}

const float32 = (data: Float32Array, dims: readonly number[]): HostTensor => ({ dtype: "float32", dims, data });

/** Units of a group: neighbours with one rule on elements together, everything else by itself. */
function divide(
  group: ParameterGroup,
  { groupIndex, optimizer, config }: { groupIndex: number; optimizer: Optimizer; config: unknown },
): Unit[] {
  const units: Unit[] = [];
  for (const [name, { offset, length, spec }] of group.layout) {
    const rule = optimizer.ruleFor(spec, config);
    const range = { start: offset, end: offset + length };
    const last = units.at(-1);
    if (last && joins(last, rule, config)) {
      const joined = { start: last.range.start, end: range.end };
      units[units.length - 1] = { ...last, range: joined, members: [...last.members, { name, range }], shape: [joined.end - joined.start] };
    } else {
      const shape = rule.works === "on elements" ? [length] : spec.shape;
      units.push({ groupIndex, group, rule, range, members: [{ name, range }], shape });
    }
  }
  return units;
}

/** Encoded state is in blocks that no two parameters share. */
function joins({ rule: lastRule, range }: Unit, rule: UpdateRule, config: unknown): boolean {
  if (rule !== lastRule || rule.works !== "on elements") return false;
  const isEncoded = Object.values(rule.state([1], config)).some(({ storage }) => storage !== undefined);
  return !isEncoded || (range.end - range.start) % blockSize === 0;
}

function createState({ rule, shape, group }: Unit, { config, coders }: { config: unknown; coders: Coders }): LiveUnit["state"] {
  return new Map(
    Object.entries(rule.state(shape, config)).map(([name, { shape, start, storage }]) => {
      const dims = shape as readonly number[];
      const stored = createStoredTensor(count(dims), group.memory, storage && coders.for(name, storage));
      return [name, { dims, stored, startsAsParameter: start === "parameter" }];
    }),
  );
}

/** Ranges within the unit that are updated in one call each. */
function* piecesOf({ rule, range }: Unit): Generator<Range> {
  const size = range.end - range.start;
  const step = rule.works === "on elements" ? pieceSize : Math.max(1, size);
  for (let start = 0; start < size; start += step) yield { start, end: Math.min(size, start + step) };
}

function evaluationGraph(optimizer: Optimizer, config: unknown): Graph {
  const graph = new Graph();
  const input = (name: string) => graph.input(name, { dtype: "float32", shape: [dim("size")] });
  const names = Object.keys(optimizer.ruleFor({ shape: [1], kind: "weight" }, config).state([1], config));
  const parameter = input("parameter");
  const state = Object.fromEntries(names.map((name) => [name, input(name)]));
  graph.output("weights", optimizer.buildEvaluationWeights!({ graph, parameter, state }, config));
  return graph;
}
