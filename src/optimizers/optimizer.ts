/**
 * What an optimizer is. Each kind of parameter has an update rule: a tensor graph that makes the next weights and the
 * next state out of the present ones and the gradient, so that it runs on any device. The execution floor owns the
 * memory, and decides which parameters are updated in one call.
 */
import type { z } from "zod";
import type { ParameterSpec } from "../models/segment-builder.ts";
import type { Graph, Value } from "../tensor/graph.ts";
import type { Dim, Shape } from "../tensor/shape.ts";

export type Scalars = Readonly<Record<string, number>>;

export interface UpdateInput {
  readonly graph: Graph;
  /** [size], or the parameter's own shape where the rule works on whole tensors. */
  readonly parameter: Value;
  /** Of the parameter's shape, already scaled and clipped. */
  readonly gradient: Value;
  /** One value for each name that `state` gives. */
  readonly state: Readonly<Record<string, Value>>;
  /** One scalar [] for each name that `hyperValues` gives. */
  readonly hyper: Readonly<Record<string, Value>>;
}

export interface StepContext {
  /** Counts from 1. */
  readonly step: number;
  /** Of this parameter: the schedule's, times the factors of method, layer and group. */
  readonly learningRate: number;
  /** Of this parameter: 0 for norms and biases. */
  readonly weightDecay: number;
  /** What `Optimizer.remember` made of the steps so far, this one included. */
  readonly memory: Scalars;
  /** The parameter's, where the rule works on whole tensors; empty where on elements. */
  readonly shape: readonly number[];
}

/** A tensor that lives from step to step beside a parameter. */
export interface StateTensor {
  readonly shape: Shape;
  /** Zeros where absent; "parameter": a copy of the parameter before its first update. */
  readonly start?: "parameter";
  /** float32 where absent; otherwise one byte an element and one float32 for every block of 256 (see dynamic-8bit.ts). */
  readonly storage?: "signed-8bit" | "unsigned-8bit";
}

// biome-ignore lint/suspicious/noExplicitAny: rules of many config types stand side by side
export interface UpdateRule<Config = any> {
  /** "elements": every element moves by itself, so that many parameters are updated as one vector, in pieces. "tensor": one parameter at a time, in its shape. */
  readonly works: "on elements" | "on tensors";
  /** @param shape of the parameter; [size] where the rule works on elements, and every state then has that shape too */
  state(shape: readonly Dim[], config: Config): Readonly<Record<string, StateTensor>>;
  /** Scalars of one step. */
  hyperValues(config: Config, at: StepContext): Scalars;
  buildUpdate(input: UpdateInput, config: Config): { readonly parameter: Value; readonly state: Readonly<Record<string, Value>> };
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds optimizers of many config types
export interface Optimizer<Config = any> {
  readonly name: string;
  readonly summary: string;
  readonly paper: string;
  readonly configSchema: z.ZodType<Config>;
  /** The rule that moves a parameter. */
  ruleFor(parameter: Pick<ParameterSpec, "shape" | "kind">, config: Config): UpdateRule<Config>;
  /** Numbers that live from step to step (kept as float32, zero before the first step). @param learningRate the schedule's at this step */
  remember?(config: Config, before: Scalars, at: { readonly step: number; readonly learningRate: number }): Scalars;
  /** The weights to evaluate and to save, where they are not those that are trained. Works on elements. */
  buildEvaluationWeights?(input: Pick<UpdateInput, "graph" | "parameter" | "state">, config: Config): Value;
  /** A peak learning rate that takes the place of the configured one. @param step counts from 1 */
  ownLearningRate?(config: Config, step: number): number | undefined;
  /** What the schedule is where the configuration names none. */
  readonly defaultSchedule?: { readonly name: string } & Readonly<Record<string, unknown>>;
}
