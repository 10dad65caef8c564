/**
 * Masked tokens, drawn anew for every epoch: 15% of the tokens are to be predicted; of these 80% become the mask token, 10% a
 * random token, 10% stay. Devlin et al. 2018, section 3.1. With whole words all pieces of a word are drawn together, as in
 * BERT's later releases and transformers' DataCollatorForWholeWordMask.
 */
import { createRandom, type Random } from "../base/random.ts";
import { ignoredLabel, type TokenizedExample } from "./batch.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

export interface MaskingOptions {
  /** Share of the tokens to predict, above 0 to below 1. */
  readonly probability: number;
  readonly wholeWords: boolean;
  readonly tokenizer: Pick<Tokenizer, "maskTokenId" | "isSpecial" | "continuesWord">;
  /** Random tokens are drawn from these ids. */
  readonly vocabSize: number;
}

/** The same for the same seed and epoch. Every document has at least one token to predict. */
export function maskTokens(
  examples: readonly TokenizedExample[],
  { seed, epoch }: { seed: number; epoch: number },
  options: MaskingOptions,
): TokenizedExample[] {
  const random = createRandom(Math.imul(seed, 3_000_017) + epoch);
  return examples.map((example) => maskOne(example, random, options));
}

function maskOne(example: TokenizedExample, random: Random, options: MaskingOptions): TokenizedExample {
  const { tokenizer, vocabSize } = options;
  const inputIds = example.inputIds.slice();
  const labels = new Int32Array(inputIds.length).fill(ignoredLabel);
  for (const place of choose(unitsOf(example.inputIds, options), random, options.probability)) {
    labels[place] = inputIds[place]!;
    const draw = random.next();
    if (draw < 0.8) inputIds[place] = tokenizer.maskTokenId!;
    else if (draw < 0.9) inputIds[place] = random.integer(vocabSize);
  }
  return { ...example, inputIds, labels };
}

/** Places that are masked together: single tokens, or the pieces of each word. Special tokens never are. */
function unitsOf(ids: Int32Array, { tokenizer, wholeWords }: MaskingOptions): number[][] {
  const units: number[][] = [];
  ids.forEach((id, place) => {
    if (tokenizer.isSpecial(id)) return;
    const last = units.at(-1);
    if (wholeWords && last?.at(-1) === place - 1 && tokenizer.continuesWord(id)) last.push(place);
    else units.push([place]);
  });
  return units;
}

/** Units in random order until the share of the places is reached, but one at least. */
function choose(units: readonly number[][], random: Random, probability: number): number[] {
  const total = units.reduce((sum, unit) => sum + unit.length, 0);
  const wanted = Math.max(1, Math.round(probability * total));
  const chosen: number[] = [];
  for (const unit of random.shuffle([...units])) {
    if (chosen.length >= wanted) break;
    if (chosen.length === 0 || chosen.length + unit.length <= wanted) chosen.push(...unit);
  }
  return chosen;
}
