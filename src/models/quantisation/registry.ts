/** Formats of quantised weights. */
import { int8 } from "./int8.ts";
import { nf4 } from "./nf4.ts";

export const quantisationFormats = [nf4, int8] as const;
