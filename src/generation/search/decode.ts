/** The loop that all ways of generating share: a step of the decoder, then every search says which of its rows go on, and how. */
import type { Decoder, RowStart } from "../decoder.ts";
import type { Search } from "./search.ts";

export interface DecodeOptions {
  readonly decoder: Decoder;
  /** One for each search. */
  readonly prompts: readonly (RowStart & { readonly ids: readonly number[] })[];
  readonly searches: readonly Search[];
  readonly signal?: AbortSignal | undefined;
}

/** Yields whenever every search has advanced. Searches that end leave the batch. Ends when all have, or at the signal. */
export async function* decode({ decoder, prompts, searches, signal }: DecodeOptions): AsyncGenerator<void, void, undefined> {
  await decoder.prepare(prompts);
  let logits = await decoder.step(prompts.map(({ ids }) => ids));
  let going = searches.map((search) => ({ search, rows: 1 }));
  while (!signal?.aborted) {
    const parents: number[] = [];
    const tokens: number[][] = [];
    let first = 0;
    going = going.flatMap(({ search, rows }) => {
      const continuations = search.advance(logits.slice(first, first + rows));
      for (const { parent, token } of continuations) {
        parents.push(first + parent);
        tokens.push([token]);
      }
      first += rows;
      return continuations.length > 0 ? [{ search, rows: continuations.length }] : [];
    });
    yield;
    if (going.length === 0) return;
    decoder.reorder(parents);
    logits = await decoder.step(tokens);
  }
}
