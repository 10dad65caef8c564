/** Every learning-rate schedule. */
import { constant } from "./constant.ts";
import { cosine } from "./cosine.ts";
import { linear } from "./linear.ts";
import { warmupStableDecay } from "./warmup-stable-decay.ts";

export const schedules = [cosine, linear, constant, warmupStableDecay] as const;
