/**
 * Which parameters have a learning rate or weight decay of their own: by pattern, and by depth in the model.
 * Layer-wise decay: Clark et al. 2020 (ELECTRA), https://arxiv.org/abs/2003.10555, with depths as in BEiT and timm.
 */
import { z } from "zod";
import { ConfigError } from "../../base/errors.ts";
import { matchesGlob } from "../../base/module-names.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { ParameterSpec } from "../../models/segment-builder.ts";

export const groupFields = {
  layerDecay: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe("The learning rate is multiplied by this once for every block between a parameter and the head; 0.75 to 0.95 is usual."),
  groups: z
    .array(
      z.strictObject({
        parameters: z
          .array(z.string())
          .min(1)
          .describe('Patterns of parameter names, for example "*.mlp.*" or "norm.weight"; * is any run of characters.'),
        learningRate: z.number().positive().optional().describe("Peak learning rate of these parameters."),
        weightDecay: z.number().min(0).optional().describe("Weight decay of these parameters, norms and biases among them."),
      }),
    )
    .default([])
    .describe("Parameters with a rate or decay of their own; the first group that matches counts."),
};

export interface GroupConfig {
  readonly learningRate: number;
  readonly layerDecay?: number | undefined;
  readonly groups: readonly {
    readonly parameters: readonly string[];
    readonly learningRate?: number | undefined;
    readonly weightDecay?: number | undefined;
  }[];
}

export interface GroupSettings {
  /** Learning rate as a multiple of the run's. */
  readonly learningRateFactor: number;
  /** Instead of the optimizer's, and for norms and biases too. */
  readonly weightDecay?: number | undefined;
}

/** Settles every parameter's group once the model is known. @param all in the order of the model, the method's own last */
export type Grouping = (parameters: {
  readonly all: readonly ParameterSpec[];
  readonly trained: readonly ParameterSpec[];
}) => (parameter: ParameterSpec) => GroupSettings;

export const createGrouping =
  ({ learningRate, layerDecay = 1, groups }: GroupConfig): Grouping =>
  ({ all, trained }) => {
    const problems = groups.flatMap(({ parameters }, i) =>
      parameters.flatMap((pattern) => explainNoMatch(pattern, { field: `optimizer.groups.${i}.parameters`, all, trained })),
    );
    if (problems.length > 0) throw new ConfigError(problems);
    const below = blocksBelowHead(all);
    return ({ name }) => {
      const group = groups.find(({ parameters }) => parameters.some((pattern) => matchesGlob(name, pattern)));
      return {
        learningRateFactor: ((group?.learningRate ?? learningRate) / learningRate) * layerDecay ** below(name),
        weightDecay: group?.weightDecay,
      };
    };
  };

function explainNoMatch(
  pattern: string,
  { field, all, trained }: { field: string; all: readonly ParameterSpec[]; trained: readonly ParameterSpec[] },
): string[] {
  const matching = ({ name }: ParameterSpec): boolean => matchesGlob(name, pattern);
  if (trained.some(matching)) return [];
  if (all.some(matching)) return [`${field}: "${pattern}" matches only frozen parameters. Name trained ones, or train them too (method).`];
  const names = trained.map(({ name }) => name);
  const nearest = nearestName(pattern, names);
  const hint = nearest ? `The nearest is "${nearest}".` : `Trained here are for example: ${names.slice(0, 3).join(", ")}.`;
  return [`${field}: "${pattern}" matches no trained parameter. ${hint}`];
}

/**
 * Steps from a parameter up to the head: 0 for the head, 1 for the last block, L + 1 for the embeddings of L blocks.
 * Blocks are told by the first number in a name; what is named before any block is embedding, what comes after is head.
 */
function blocksBelowHead(all: readonly ParameterSpec[]): (name: string) => number {
  const blockOf = (name: string): { stack: string; index: number } | undefined => {
    const match = /^(.*?)\.(\d+)\./.exec(name);
    return match ? { stack: match[1]!, index: Number(match[2]) } : undefined;
  };
  const depths = new Map<string, number>();
  const embeddings = new Set<string>();
  for (const { name } of all) {
    const block = blockOf(name);
    if (block) depths.set(block.stack, Math.max(depths.get(block.stack) ?? 0, block.index + 1));
    else if (depths.size === 0) embeddings.add(name);
  }
  const deepest = Math.max(0, ...depths.values());
  return (name) => {
    const block = blockOf(name);
    if (block) return depths.get(block.stack)! - block.index;
    return embeddings.has(name) ? deepest + 1 : 0;
  };
}
