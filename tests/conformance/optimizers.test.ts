/** AdamW over ten steps and every schedule over fifty, against torch and transformers. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../src/backends/reference.ts";
import { createOptimizerOnGroups } from "../../src/execution/optimizer-on-groups.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { constant } from "../../src/optimizers/schedules/constant.ts";
import { cosine } from "../../src/optimizers/schedules/cosine.ts";
import { linear } from "../../src/optimizers/schedules/linear.ts";
import type { Schedule } from "../../src/optimizers/schedules/schedule.ts";
import { warmupStableDecay } from "../../src/optimizers/schedules/warmup-stable-decay.ts";
import { reference } from "./tiny-model.ts";

const read = <T>(file: string): T => JSON.parse(readFileSync(`${reference}${file}`, "utf8")) as T;

interface Tensors {
  matrix: number[][];
  bias: number[];
}
interface AdamwReference {
  initial: Tensors;
  gradients: Tensors[];
  cases: Record<
    string,
    {
      options: { learningRate: number | number[]; weightDecay: number; beta1: number; beta2: number; epsilon: number };
      afterStep: Tensors[];
    }
  >;
}

describe("adamw", () => {
  const { initial, gradients, cases } = read<AdamwReference>("optimizers/adamw.json");
  it.each(Object.keys(cases))("%s", async (name) => {
    const { options, afterStep } = cases[name]!;
    const { learningRate, ...rest } = options;
    const rates = [learningRate].flat();
    const group = (values: number[], decays: boolean) => ({
      ...{ decays, learningRateFactor: 1, parameters: Float32Array.from(values), gradients: new Float32Array(values.length) },
      layout: new Map([
        ["all", { offset: 0, length: values.length, spec: { name: "all", shape: [values.length], kind: "weight" as const } }],
      ]),
    });
    const groups = [group(initial.matrix.flat(), true), group(initial.bias, false)];
    const config = adamw.configSchema.parse({ name: "adamw", ...rest });
    const optimizer = await createOptimizerOnGroups({ backend: referenceBackend, optimizer: adamw, config, groups });
    for (const [i, expected] of afterStep.entries()) {
      groups[0]!.gradients.set(gradients[i]!.matrix.flat());
      groups[1]!.gradients.set(gradients[i]!.bias);
      await optimizer.update({ learningRate: rates[i] ?? rates[0]!, step: i + 1, gradientScale: 1 });
      expected.matrix
        .flat()
        .forEach((value, j) => expect(Math.abs(groups[0]!.parameters[j]! - value)).toBeLessThan(2e-6 * (1 + Math.abs(value))));
    }
  });
});

interface ScheduleReference {
  steps: number;
  cases: Record<
    string,
    {
      function: string;
      options: {
        num_warmup_steps?: number;
        num_training_steps?: number;
        num_decay_steps?: number;
        decay_type?: string;
        min_lr_ratio?: number;
      };
      rates: number[];
    }
  >;
}

describe("schedules", () => {
  const { cases } = read<ScheduleReference>("optimizers/schedules.json");
  const kinds: Record<string, Schedule> = {
    get_constant_schedule: constant,
    get_constant_schedule_with_warmup: constant,
    get_linear_schedule_with_warmup: linear,
    get_cosine_schedule_with_warmup: cosine,
    get_wsd_schedule: warmupStableDecay,
  };
  const known = Object.keys(cases).filter((name) => cases[name]!.function in kinds);
  it.each(known)("%s", (name) => {
    const { function: kind, options, rates } = cases[name]!;
    const {
      num_warmup_steps: warmupSteps = 0,
      num_training_steps: totalSteps = 50,
      num_decay_steps,
      decay_type: decayType,
      min_lr_ratio: minRatio = 0,
    } = options;
    const schedule = kinds[kind]!;
    const extra = num_decay_steps === undefined ? {} : { decayRatio: num_decay_steps / totalSteps, decayType, minRatio };
    const config = schedule.configSchema.parse({ name: schedule.name, warmupSteps, ...extra }) as object;
    rates
      .slice(0, totalSteps)
      .forEach((rate, step) => expect(schedule.factor(config, { step, totalSteps }), `step ${step}`).toBeCloseTo(rate, 9));
  });
});
