/** What a row of a data set can be, and how one is recognised. */

/** One message of a conversation, in OpenAI's words. */
export interface Message {
  readonly role: string;
  readonly content: string;
}

/** What a row becomes before it is tokenized. */
export type Sample =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | { readonly kind: "conversation"; readonly messages: readonly Message[] }
  | LabelledSample
  | TaggedSample
  | QuestionSample
  | ChoiceSample
  | ComparedSample;

/** A text, or two, with one label or a list of them. */
export interface LabelledSample {
  readonly kind: "labelled";
  readonly text: string;
  readonly pair?: string;
  readonly labels: readonly string[];
  /** True if the row gave a list: a text may have several labels, or none. */
  readonly isList: boolean;
}

/** A sentence in words, each with its tag. */
export interface TaggedSample {
  readonly kind: "tagged";
  readonly words: readonly string[];
  readonly tags: readonly string[];
}

/** A question, the text that may hold its answer, and where the answer stands. */
export interface QuestionSample {
  readonly kind: "question";
  readonly id?: string;
  readonly question: string;
  readonly context: string;
  /** Right answers with the index of their first character in the context; none if the context has no answer. */
  readonly answers: readonly { readonly text: string; readonly start: number }[];
}

/** A text and ways to go on, of which one is right. */
export interface ChoiceSample {
  readonly kind: "choice";
  readonly text: string;
  readonly choices: readonly string[];
  /** Counts from 0. */
  readonly answer: number;
}

/** A text, one that belongs to it, and some that do not. */
export interface ComparedSample {
  readonly kind: "compared";
  readonly anchor: string;
  readonly positive: string;
  readonly negatives: readonly string[];
}

export type Row = Readonly<Record<string, unknown>>;

export interface DataFormat {
  readonly name: string;
  readonly summary: string;
  /** True if the row has this format's shape. */
  matches(row: Row): boolean;
  /** @throws DataError if the row only looks like this format */
  read(row: Row): Sample;
}

export const isText = (value: unknown): value is string => typeof value === "string";
