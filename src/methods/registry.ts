/** Every fine-tuning method. */
import { freeze } from "./freeze.ts";
import { full } from "./full.ts";
import { ia3 } from "./ia3.ts";
import { lora } from "./lora.ts";

export const methods = [lora, ia3, full, freeze] as const;
