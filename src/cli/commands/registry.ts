/** Every command, in the order of the help text. */
import { answer } from "./answer.ts";
import { chat } from "./chat.ts";
import { classify } from "./classify.ts";
import { config } from "./config.ts";
import { doctor } from "./doctor.ts";
import { embed } from "./embed.ts";
import { evaluate } from "./evaluate.ts";
import { exportCommand } from "./export.ts";
import { generate } from "./generate.ts";
import { list } from "./list.ts";
import { merge } from "./merge.ts";
import { pretrain } from "./pretrain.ts";
import { train } from "./train.ts";
import { update } from "./update.ts";

export const commands = [
  train,
  update,
  pretrain,
  evaluate,
  generate,
  chat,
  classify,
  answer,
  embed,
  exportCommand,
  merge,
  config,
  list,
  doctor,
] as const;
