/** Documents for encoders and classifiers: one text or two with the checkpoint's special tokens, cut to a length without losing these. */
import { ConfigError } from "../../base/errors.ts";
import { indexOf } from "./document-parts.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface FittedDocument {
  readonly inputIds: Int32Array;
  readonly tokenTypeIds: Int32Array;
  readonly isTruncated: boolean;
}

/** Where two texts are too long together, the longer one is cut first (`longest_first` of transformers).
 * @param maxLength tokens, special ones included
 * @throws ConfigError if nothing of a text fits beside the special tokens */
export function fitDocument(
  tokenizer: Pick<Tokenizer, "encode" | "encodeDocument">,
  { text, pair, maxLength }: { readonly text: string; readonly pair?: string | undefined; readonly maxLength: number },
): FittedDocument {
  const whole = tokenizer.encodeDocument(text, pair);
  if (whole.ids.length <= maxLength) return fitted(whole, false);
  const first = tokenizer.encode(text);
  const second = pair === undefined ? [] : tokenizer.encode(pair);
  const startOfFirst = indexOf(whole.ids, first, 0);
  const startOfSecond = indexOf(whole.ids, second, startOfFirst + first.length);
  const special = whole.ids.length - first.length - second.length;
  const room = maxLength - special;
  if (room < 1)
    throw new ConfigError(
      `data.maxLength: ${maxLength} leaves no room for a text beside ${special} special tokens. Raise it, or train fewer virtual tokens.`,
    );
  let [keepFirst, keepSecond] = [first.length, second.length];
  while (keepFirst + keepSecond > room) {
    if (keepFirst >= keepSecond) keepFirst--;
    else keepSecond--;
  }
  const isKept = (i: number): boolean => {
    if (i >= startOfFirst && i < startOfFirst + first.length) return i < startOfFirst + keepFirst;
    if (i >= startOfSecond && i < startOfSecond + second.length) return i < startOfSecond + keepSecond;
    return true;
  };
  return fitted({ ids: whole.ids.filter((_, i) => isKept(i)), typeIds: whole.typeIds.filter((_, i) => isKept(i)) }, true);
}

const fitted = ({ ids, typeIds }: { ids: readonly number[]; typeIds: readonly number[] }, isTruncated: boolean): FittedDocument => ({
  ...{ inputIds: Int32Array.from(ids), tokenTypeIds: Int32Array.from(typeIds), isTruncated },
});
