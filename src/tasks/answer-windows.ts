/** A question with its context as documents: windows over the context where it is long, and where in each the answer stands. */
import { ConfigError } from "../base/errors.ts";
import type { TokenizedExample } from "../data/batch.ts";
import { pairFrameOf } from "../data/tokenizers/document-parts.ts";
import { type Span, tokenSpans } from "../data/tokenizers/token-offsets.ts";
import type { Tokenizer } from "../data/tokenizers/tokenizer.ts";

export interface WindowOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens of a document, with question and special tokens. */
  readonly maxLength: number;
  /** Tokens that a window shares with the one before (`doc_stride`). */
  readonly docStride: number;
}

export interface Question {
  /** The same for all windows of a question. */
  readonly id: string;
  readonly question: string;
  readonly context: string;
  /** Right answers; none if the context has no answer. */
  readonly answers: readonly { readonly text: string; readonly start: number }[];
}

/** What a window keeps of its question. */
export interface Window {
  readonly question: Question;
  /** Offset in the document of the first token of the context. */
  readonly contextStart: number;
  /** Characters of the context behind each of its tokens in this window. */
  readonly spans: readonly Span[];
}

export const windowOf = ({ notes }: TokenizedExample): Window => notes as Window;

/** Where "no answer here" points: the first token, which is [CLS] where there is one. */
export const noAnswer = 0;

/** One example or several. Windows that do not hold the whole answer point at the first token, as in transformers' example.
 * @throws ConfigError if a window has no room for context, or the stride is not smaller than that room */
export function windowsOf(question: Question, { tokenizer, maxLength, docStride }: WindowOptions): TokenizedExample[] {
  const frame = pairFrameOf(tokenizer);
  const around = frame.before.length + frame.between.length + frame.after.length;
  // The question is asked whole where half of the document is room enough for it.
  const asked = tokenizer.encode(question.question.trim()).slice(0, Math.floor((maxLength - around) / 2));
  const room = maxLength - around - asked.length;
  if (room < 1) throw new ConfigError(`data.maxLength: ${maxLength} leaves no room for a context. Raise it.`);
  if (docStride >= room)
    throw new ConfigError(
      `task.docStride: ${docStride} is not smaller than the ${room} tokens of context that data.maxLength ${maxLength} leaves. Lower it, or raise data.maxLength.`,
    );
  const ids = tokenizer.encode(question.context);
  const spans = tokenSpans(tokenizer, question.context, ids);
  const contextStart = frame.before.length + asked.length + frame.between.length;
  const head = [...frame.before, ...asked, ...frame.between];
  const windows: TokenizedExample[] = [];
  for (let start = 0; start === 0 || start + docStride < ids.length; start += room - docStride) {
    const end = Math.min(ids.length, start + room);
    const inputIds = Int32Array.from([...head, ...ids.slice(start, end), ...frame.after]);
    const own = spans.slice(start, end);
    const window: Window = { question, contextStart, spans: own };
    windows.push({
      ...{ inputIds, labels: new Int32Array(0), notes: window },
      tokenTypeIds: inputIds.map((_, i) => (i < contextStart ? frame.firstTypeId : frame.secondTypeId)),
      target: answerTokens(window),
    });
    if (end === ids.length) break;
  }
  return windows;
}

/** First and last token of the first right answer. */
function answerTokens({ question, contextStart, spans }: Window): [number, number] {
  const [answer] = question.answers;
  if (!answer) return [noAnswer, noAnswer];
  const [from, to] = [answer.start, answer.start + answer.text.length];
  if (spans.length === 0 || spans[0]![0] > from || spans.at(-1)![1] < to) return [noAnswer, noAnswer];
  const first = spans.findLastIndex(([start]) => start <= from);
  const last = spans.findIndex(([, end]) => end >= to);
  return [contextStart + first, contextStart + Math.max(first, last)];
}
