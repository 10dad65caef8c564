/** Every way to make one tensor out of several. Models are merged by all of them; LoRA adapters by those of task vectors (adapter-methods.ts). */
import { dareLinear } from "./dare_linear.ts";
import { dareTies } from "./dare_ties.ts";
import { magnitudePrune } from "./magnitude_prune.ts";
import { slerp } from "./slerp.ts";
import { soup } from "./soup.ts";
import { taskArithmetic } from "./task_arithmetic.ts";
import { ties } from "./ties.ts";

export const combiners = [soup, slerp, taskArithmetic, ties, dareLinear, dareTies, magnitudePrune] as const;
