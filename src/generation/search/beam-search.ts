/**
 * Beam search as transformers' generate() does it, candidate for candidate. Each step takes the best continuations of all
 * beams; those that end are set aside, the best of the others go on. Ended texts are ranked by their summed log-probability
 * divided by length ** lengthPenalty.
 */
import { indicesOfLargest } from "../../base/largest.ts";
import { processLogits, type SamplingOptions } from "../sampling/sample-token.ts";
import { logSoftmax } from "../sampling/softmax.ts";
import type { Continuation, Search } from "./search.ts";

export interface BeamOptions {
  /** At least 2. */
  readonly numBeams: number;
  /** Above 0 favours long texts, below 0 short ones; 1 where absent. */
  readonly lengthPenalty?: number;
  /**
   * When a search ends. true: as soon as numBeams texts have ended. false, the default: when the best beam, scored at its present
   * length, is no better than the worst ended text. "never": when it could not become better at any length.
   */
  readonly earlyStopping?: boolean | "never";
}

export interface BeamSearchOptions extends BeamOptions {
  readonly promptIds: readonly number[];
  /** Of the processors those that do not only shape a draw. */
  readonly sampling: SamplingOptions;
  readonly eosTokenIds: readonly number[];
  readonly maxNewTokens: number;
}

export interface BeamText {
  /** Generated tokens, an end token included. */
  readonly ids: readonly number[];
  /** Summed log-probability / length ** lengthPenalty, nats. */
  readonly score: number;
}

interface Candidate {
  readonly ids: readonly number[];
  readonly parent: number;
  /** Summed log-probability. */
  readonly sum: number;
}

export class BeamSearch implements Search {
  readonly #options: Required<BeamSearchOptions>;
  #beams: readonly Candidate[] = [{ ids: [], parent: 0, sum: 0 }];
  #ended: readonly BeamText[] = [];

  constructor(options: BeamSearchOptions) {
    this.#options = { lengthPenalty: 1, earlyStopping: false, ...options };
  }

  /** At most numBeams, the best first. */
  get texts(): readonly BeamText[] {
    return this.#ended;
  }

  advance(logits: readonly Float32Array[]): readonly Continuation[] {
    const { numBeams, eosTokenIds, maxNewTokens, lengthPenalty } = this.#options;
    const candidates = this.#candidates(logits);
    const length = candidates[0]?.ids.length ?? 0;
    const ends = ({ ids }: Candidate): boolean => length >= maxNewTokens || eosTokenIds.includes(ids.at(-1)!);
    // An end counts only among the best numBeams; the candidates behind them are there to replace those that end.
    const ended = candidates.slice(0, numBeams).filter(ends);
    const scored = ended.map(({ ids, sum }) => ({ ids, score: sum / length ** lengthPenalty }));
    this.#ended = [...this.#ended, ...scored].sort((a, b) => b.score - a.score).slice(0, numBeams);
    this.#beams = candidates.filter((candidate) => !ends(candidate)).slice(0, numBeams);
    if (!this.#goesOn(length)) return [];
    return this.#beams.map(({ parent, ids }) => ({ parent, token: ids.at(-1)! }));
  }

  /** The best continuations of all beams: enough that numBeams remain when all others end. */
  #candidates(logits: readonly Float32Array[]): Candidate[] {
    const { numBeams, eosTokenIds, maxNewTokens, promptIds, sampling } = this.#options;
    const count = Math.max(2, 1 + eosTokenIds.length) * numBeams;
    const all = this.#beams.flatMap(({ ids, sum }, parent) => {
      const context = { previousTokens: [...promptIds, ...ids], promptLength: promptIds.length, eosTokenIds, maxNewTokens };
      const logProbabilities = processLogits(logSoftmax(logits[parent]!), { ...sampling, ...context, temperature: 0 });
      return indicesOfLargest(logProbabilities, count).map((token) => ({ parent, ids, token, sum: sum + logProbabilities[token]! }));
    });
    const best = all.sort((a, b) => b.sum - a.sum).slice(0, count);
    return best.map(({ parent, ids, token, sum }) => ({ parent, ids: [...ids, token], sum }));
  }

  #goesOn(length: number): boolean {
    const { numBeams, lengthPenalty, earlyStopping, maxNewTokens } = this.#options;
    const best = this.#beams[0];
    if (!best) return false;
    if (this.#ended.length < numBeams) return true;
    if (earlyStopping === true) return false;
    const hopedLength = earlyStopping === "never" && lengthPenalty > 0 ? maxNewTokens : length;
    return best.sum / hopedLength ** lengthPenalty > this.#ended.at(-1)!.score;
  }
}
