import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StreamDecoder } from "../data/tokenizers/stream-decoder.ts";
import { createStopping, type FinishReason, type StoppingOptions } from "./stopping.ts";

const eos = -1;

/** Token i is the i-th piece. The decoder keeps a trailing "~" back, as a real one does with half a character. */
function run(pieces: readonly string[], options: Partial<StoppingOptions> = {}) {
  let kept = "";
  const decoder: StreamDecoder = {
    push(id) {
      const text = kept + pieces[id]!;
      kept = text.endsWith("~") ? "~" : "";
      return kept ? text.slice(0, -1) : text;
    },
    flush: () => kept,
  };
  const stopping = createStopping({ decoder, eosTokenIds: [eos], maxNewTokens: 100, ...options });
  const shown: string[] = [];
  let finishReason: FinishReason | undefined;
  for (const id of [...pieces.keys(), eos]) {
    const step = stopping.push(id);
    shown.push(step.text);
    finishReason = step.finishReason;
    if (finishReason) break;
  }
  return { shown, text: shown.join(""), finishReason };
}

test("an end token ends the text and is no part of it", () => {
  expect(run(["Hel", "lo"])).toEqual({ shown: ["Hel", "lo", ""], text: "Hello", finishReason: "end-token" });
});

test("a stop string across tokens is cut out, and what may begin one is held back", () => {
  const result = run(["Hi", "\nUs", "er", ": more"], { stopStrings: ["\nUser:"] });
  expect(result).toEqual({ shown: ["Hi", "", "", ""], text: "Hi", finishReason: "stop-string" });
});

test("text held back in vain is shown as soon as it is certain", () => {
  expect(run(["a", "##", "b"], { stopStrings: ["###"] }).shown).toEqual(["a", "", "##b", ""]);
});

test("the first of several stop strings counts", () => {
  expect(run(["one END two STOP"], { stopStrings: ["STOP", "END"] }).text).toBe("one ");
});

describe("the longest length", () => {
  test("ends the text with what was held back", () => {
    expect(run(["a", "#", "b"], { stopStrings: ["##"], maxNewTokens: 2 })).toMatchObject({ text: "a#", finishReason: "length" });
  });
  test("still sees a stop string that the decoder's rest completes", () => {
    expect(run(["a", "#~", "b"], { stopStrings: ["#~"], maxNewTokens: 2 })).toMatchObject({ text: "a", finishReason: "stop-string" });
  });
});

test("an empty stop string is an error", () => {
  expect(() => run(["a"], { stopStrings: [""] })).toThrow(/stop string is empty/);
});

test("however the text is cut into tokens, the result is the text up to the first stop string", () => {
  const piece = fc.string({ unit: fc.constantFrom("a", "b", "#"), maxLength: 4 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "#"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.array(stop, { maxLength: 3 }), (pieces, stopStrings) => {
      const whole = pieces.join("");
      const { text, finishReason } = run(pieces, { stopStrings });
      if (finishReason === "end-token") {
        expect(text).toBe(whole);
        for (const one of stopStrings) expect(whole).not.toContain(one);
      } else {
        // Checked token by token: an earlier stop string that a later token would complete does not count.
        expect(whole.startsWith(text)).toBe(true);
        expect(stopStrings.some((one) => whole.startsWith(one, text.length))).toBe(true);
        for (const one of stopStrings) expect(text).not.toContain(one);
      }
    }),
  );
});
