/** Texts drawn token by token, or at temperature 0 the one of the likeliest tokens; several from one prompt, each from a random stream of its own. */
import { createRandom, type Random } from "../../base/random.ts";
import { type SamplingOptions, sampleToken } from "../sampling/sample-token.ts";
import type { FinishReason, Stopping, StoppingStep } from "../stopping.ts";
import type { Continuation, Search } from "./search.ts";

export interface SampledTextsOptions {
  readonly promptIds: readonly number[];
  readonly sampling: SamplingOptions;
  readonly eosTokenIds: readonly number[];
  readonly maxNewTokens: number;
  /** One for each text, with a seed of its own. */
  readonly texts: readonly { readonly stopping: Stopping; readonly seed: number }[];
}

export interface SampledText {
  /** Generated tokens, an end token included. */
  readonly ids: readonly number[];
  readonly text: string;
  /** Absent while it goes on, and where it was interrupted. */
  readonly finishReason?: FinishReason | undefined;
  /** What the last token gave. */
  readonly lastStep?: StoppingStep | undefined;
}

interface Growing {
  readonly stopping: Stopping;
  readonly random: Random;
  readonly ids: number[];
  text: string;
  lastStep?: StoppingStep;
}

export class SampledTexts implements Search {
  readonly #options: SampledTextsOptions;
  readonly #texts: Growing[];
  /** The text of each row. */
  #rows: Growing[];
  #isFirst = true;

  constructor(options: SampledTextsOptions) {
    this.#options = options;
    this.#texts = options.texts.map(({ stopping, seed }) => ({ stopping, random: createRandom(seed), ids: [], text: "" }));
    this.#rows = this.#texts;
  }

  get texts(): readonly SampledText[] {
    return this.#texts.map(({ ids, text, lastStep }) => ({ ids, text, lastStep, finishReason: lastStep?.finishReason }));
  }

  advance(logits: readonly Float32Array[]): readonly Continuation[] {
    const { promptIds, sampling, eosTokenIds, maxNewTokens } = this.#options;
    const going: Growing[] = [];
    const continuations: Continuation[] = [];
    for (const [row, text] of this.#rows.entries()) {
      const parent = this.#isFirst ? 0 : row;
      const context = { previousTokens: [...promptIds, ...text.ids], promptLength: promptIds.length, eosTokenIds, maxNewTokens };
      const token = sampleToken(logits[parent]!, { ...sampling, ...context, random: text.random });
      text.ids.push(token);
      text.lastStep = text.stopping.push(token);
      text.text += text.lastStep.text;
      if (text.lastStep.finishReason) continue;
      going.push(text);
      continuations.push({ parent, token });
    }
    this.#isFirst = false;
    this.#rows = going;
    return continuations;
  }

  /** Gives up the text that was held back, when the caller ends early. */
  flush(): void {
    for (const text of this.#rows) text.text += text.stopping.flush();
  }
}
