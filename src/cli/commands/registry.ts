/** Every command, in the order of the help text. */
import { chat } from "./chat.ts";
import { config } from "./config.ts";
import { doctor } from "./doctor.ts";
import { evaluate } from "./evaluate.ts";
import { exportCommand } from "./export.ts";
import { generate } from "./generate.ts";
import { list } from "./list.ts";
import { merge } from "./merge.ts";
import { pretrain } from "./pretrain.ts";
import { train } from "./train.ts";
import { update } from "./update.ts";

export const commands = [train, update, pretrain, evaluate, generate, chat, exportCommand, merge, config, list, doctor] as const;
