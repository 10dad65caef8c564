/** Every learning-rate schedule. */
import { constant } from "./constant.ts";
import { cosine } from "./cosine.ts";
import { cosineWithRestarts } from "./cosine-with-restarts.ts";
import { inverseSqrt } from "./inverse-sqrt.ts";
import { linear } from "./linear.ts";
import { polynomial } from "./polynomial.ts";
import { warmupStableDecay } from "./warmup-stable-decay.ts";

export const schedules = [cosine, linear, constant, warmupStableDecay, polynomial, cosineWithRestarts, inverseSqrt] as const;
