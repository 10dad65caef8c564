/**
 * Knowledge distillation: the student follows the distribution of a teacher over the vocabulary, token by token.
 * Hinton et al. 2015, https://arxiv.org/abs/1503.02531; generalised Jensen-Shannon: Agarwal et al. 2023, https://arxiv.org/abs/2306.13649.
 * With P the teacher's and Q the student's distribution at temperature t:
 *   forward-kl        sum P (log P - log Q): the student covers all that the teacher does
 *   reverse-kl        sum Q (log Q - log P): the student keeps to what the teacher finds likely
 *   jensen-shannon    b KL(P | M) + (1 - b) KL(Q | M) with M = b P + (1 - b) Q
 * With topK the teacher gives its k likeliest tokens T only, and everything else is one more outcome:
 *   sum over T of P (log P - log Q)  +  P_rest (log P_rest - log Q_rest),   P_rest = 1 - sum over T of P, Q_rest likewise
 * which is at most the whole forward-kl, and equal to it for k = the size of the vocabulary.
 * Loss: labelWeight * cross-entropy + divergenceWeight * t^2 * divergence. Evaluation reports the cross-entropy alone, so
 * that losses compare across objectives.
 */
import { z } from "zod";
import { logitsOf } from "../models/layers/vocabulary.ts";
import type { Value } from "../tensor/graph.ts";
import {
  add,
  broadcastTo,
  constant,
  exp,
  gather,
  less,
  log,
  logSumExp,
  maximum,
  mul,
  reduceSum,
  reshape,
  scatterAddRows,
  stopGradient,
  sub,
  where,
} from "../tensor/ops/index.ts";
import { type Dim, multiplyDims, sizeOf } from "../tensor/shape.ts";
import { causalLm } from "./causal-lm.ts";
import type { Objective, ReferenceTop } from "./objective.ts";

const configSchema = z
  .strictObject({
    name: z.literal("distillation"),
    teacher: z
      .string()
      .min(1)
      .describe('A checkpoint folder or hub name with the same vocabulary; "start": the model itself as it is before training.'),
    teacherAdapter: z.string().optional().describe("An adapter folder to put on the teacher."),
    divergence: z
      .enum(["forward-kl", "reverse-kl", "jensen-shannon"])
      .default("forward-kl")
      .describe("How student and teacher are compared."),
    mixture: z.number().gt(0).lt(1).default(0.5).describe("b of the Jensen-Shannon divergence: the teacher's share of the mixture."),
    temperature: z.number().positive().default(1).describe("Divides both logits; above 1 the teacher's small probabilities count more."),
    labelWeight: z.number().min(0).default(0.5).describe("Weight of the cross-entropy with the labels."),
    divergenceWeight: z.number().min(0).default(0.5).describe("Weight of the divergence from the teacher."),
    topK: z
      .int()
      .positive()
      .optional()
      .describe(
        "The teacher's likeliest tokens to keep for each target; 32 to 128 is usual. They are computed once, before training, and kept in the run's folder, so that no teacher is in memory while training. Only forward-kl.",
      ),
  })
  .refine(({ topK, divergence }) => topK === undefined || divergence === "forward-kl", {
    path: ["topK"],
    message: "goes with divergence: forward-kl",
  })
  .refine(({ topK, teacher }) => topK === undefined || teacher !== "start", {
    path: ["topK"],
    message: "needs a teacher of its own; teacher: start costs no memory",
  });
type Config = z.output<typeof configSchema>;

export const distillation = {
  name: "distillation",
  summary: "Follow a teacher model's predictions, with or without the labels.",
  configSchema,
  readsReference: true,
  referenceTop: ({ topK, temperature }) => (topK === undefined ? undefined : { k: topK, temperature }),
  build(input) {
    const { head, weights, referenceLogits, referenceTop, build, config } = input;
    const plain = causalLm.build({ ...input, config: { name: "causal-lm", labelSmoothing: 0 } });
    if (!referenceLogits && !referenceTop) return plain;
    const logits = logitsOf(head, build);
    const divergences = referenceTop
      ? divergenceFromTop(mul(logits, 1 / config.temperature), referenceTop)
      : divergenceOf({ student: logits, teacher: referenceLogits!, config }); // [N]
    const weighted = mul(divergences, mul(weights, config.divergenceWeight * config.temperature ** 2));
    return { ...plain, lossSum: add(mul(plain.lossSum, config.labelWeight), reduceSum(weighted, [0])) };
  },
} as const satisfies Objective<Config>;

function divergenceOf({ student, teacher, config }: { student: Value; teacher: Value; config: Config }): Value {
  const q = logProbabilities(student, config.temperature);
  const p = logProbabilities(teacher, config.temperature);
  if (config.divergence === "forward-kl") return kl(p, q);
  if (config.divergence === "reverse-kl") return kl(q, p);
  const b = config.mixture;
  const larger = stopGradient(maximum(p, q)); // taken out before the exponential, so that two tiny probabilities do not become log 0
  const m = add(larger, log(add(mul(exp(sub(p, larger)), b), mul(exp(sub(q, larger)), 1 - b))));
  return add(mul(kl(p, m), b), mul(kl(q, m), 1 - b));
}

/** [N, V] -> [N]. The student's rest is summed over the tokens themselves: as 1 - sum it would drown in rounding. */
function divergenceFromTop(student: Value, { positions, probabilities, rest, negativeEntropy }: ReferenceTop): Value {
  const { graph } = student;
  const [N, k] = positions.shape as [Dim, Dim];
  const size = sizeOf(student.shape);
  const flat = reshape(positions, [multiplyDims(N, k)]);
  const normaliser = logSumExp(student); // [N]
  const own = sub(reshape(gather(reshape(student, [size]), flat), [N, k]), reshape(normaliser, [N, 1]));
  const isTop = reshape(scatterAddRows(flat, broadcastTo(constant(graph, 1), flat.shape), size), student.shape);
  const others = where(less(isTop, constant(graph, 0.5)), student, constant(graph, -1e9));
  const ownRest = sub(logSumExp(others), normaliser);
  return sub(sub(negativeEntropy, reduceSum(mul(probabilities, own), [-1])), mul(rest, ownRest));
}

/** [N, V] -> log softmax at a temperature. */
function logProbabilities(logits: Value, temperature: number): Value {
  const scaled = temperature === 1 ? logits : mul(logits, 1 / temperature);
  return sub(scaled, reshape(logSumExp(scaled), [logits.shape[0]!, 1]));
}

/** KL(P | Q) from log probabilities, [N, V] twice -> [N]. */
const kl = (p: Value, q: Value): Value => reduceSum(mul(exp(p), sub(p, q)), [-1]);
