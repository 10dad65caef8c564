/**
 * Which characters of a text each of its tokens stands for. The tokenizer library does not say, so tokens are decoded and found again:
 * letter by letter, without case and accents, since many tokenizers drop both. What cannot be found (an unknown token) covers everything up
 * to the next token that can.
 */
import type { Tokenizer } from "./tokenizer.ts";

/** First character and the one behind the last. */
export type Span = readonly [start: number, end: number];

/** @param ids what the tokenizer makes of the text, without special tokens @returns one span for each, in UTF-16 units as in `text.slice` */
export function tokenSpans(tokenizer: Pick<Tokenizer, "decode">, text: string, ids: readonly number[]): Span[] {
  const letters = fold(text);
  const spans: (Span | undefined)[] = [];
  let at = 0;
  for (let i = 0; i < ids.length; ) {
    // A letter may be spread over several tokens, which then decode only together.
    let count = 1;
    let piece = tokenizer.decode(ids.slice(i, i + 1));
    while (piece.includes("\uFFFD") && i + count < ids.length && count < 8) piece = tokenizer.decode(ids.slice(i, i + ++count));
    const wanted = fold(piece.replace(/^##/, "")).map(({ letter }) => letter);
    const found = wanted.length === 0 ? undefined : findLetters(letters, wanted, at);
    const span: Span | undefined = found === undefined ? undefined : [letters[found]!.start, letters[found + wanted.length - 1]!.end];
    for (let k = 0; k < count; k++) spans.push(span);
    if (found !== undefined) at = found + wanted.length;
    i += count;
  }
  return spans.map((span, i) => span ?? gap(spans, i, text.length));
}

interface Letter {
  readonly letter: string;
  readonly start: number;
  readonly end: number;
}

/** Letters without case, accents and spaces. */
function fold(text: string): Letter[] {
  const letters: Letter[] = [];
  let start = 0;
  for (const character of text) {
    const end = start + character.length;
    const folded = character
      .normalize("NFKD")
      .toLowerCase()
      .normalize("NFKD")
      .replace(/[\p{M}\s\u2581]/gu, "");
    for (const letter of folded) letters.push({ letter, start, end });
    start = end;
  }
  return letters;
}

/** A token that is not found near where it should be has no letters of its own. */
const reach = 40;

function findLetters(letters: readonly Letter[], wanted: readonly string[], from: number): number | undefined {
  for (let at = from; at <= Math.min(from + reach, letters.length - wanted.length); at++)
    if (wanted.every((letter, i) => letters[at + i]!.letter === letter)) return at;
  return undefined;
}

/** From the end of the last token that was found to the beginning of the next. */
function gap(spans: readonly (Span | undefined)[], i: number, length: number): Span {
  const before = spans.slice(0, i).findLast((span) => span !== undefined);
  const after = spans.slice(i + 1).find((span) => span !== undefined);
  return [before?.[1] ?? 0, Math.max(before?.[1] ?? 0, after?.[0] ?? length)];
}
