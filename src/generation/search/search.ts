/** What decides which tokens follow. One search for each prompt; the decoding loop runs many of them side by side. */

/** One row of the next step. */
export interface Continuation {
  /** Which of the search's rows it continues. */
  readonly parent: number;
  readonly token: number;
}

export interface Search {
  /** @param logits after each of the search's rows, [V]; of the prompt alone in the first step
   * @returns the rows of the next step in their order; none when the search has ended */
  advance(logits: readonly Float32Array[]): readonly Continuation[];
}
