/** Every optimizer. */
import { adafactor } from "./adafactor.ts";
import { adamw } from "./adamw.ts";
import { adamw8bit } from "./adamw-8bit.ts";
import { lion } from "./lion.ts";
import { muon } from "./muon.ts";
import { scheduleFreeAdamw } from "./schedule-free-adamw.ts";
import { sgd } from "./sgd.ts";

export const optimizers = [adamw, adamw8bit, adafactor, lion, muon, sgd, scheduleFreeAdamw] as const;
