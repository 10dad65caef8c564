/** Configuration fields that every optimizer has. */
import { z } from "zod";
import { groupFields } from "./parameter-groups.ts";

export const sharedFields = ({ learningRate, advice }: { learningRate: number; advice: string }) => ({
  learningRate: z.number().positive().default(learningRate).describe(`Peak learning rate. ${advice}`),
  weightDecay: z
    .number()
    .min(0)
    .default(0)
    .describe("Decay of the weights; norms and biases are decayed only where a group gives them a decay of its own."),
  ...groupFields,
});

export const adamFields = {
  beta1: z.number().min(0).lt(1).default(0.9).describe("Decay of the first moment."),
  beta2: z.number().min(0).lt(1).default(0.999).describe("Decay of the second moment."),
  epsilon: z.number().positive().default(1e-8).describe("Added to the root of the second moment."),
};
