/** Every fine-tuning method. */
import { freeze } from "./freeze.ts";
import { full } from "./full.ts";
import { lora } from "./lora.ts";

export const methods = [lora, full, freeze] as const;
