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
  | LabelledSample;

/** A text, or two, with one label or a list of them. */
export interface LabelledSample {
  readonly kind: "labelled";
  readonly text: string;
  readonly pair?: string;
  readonly labels: readonly string[];
  /** True if the row gave a list: a text may have several labels, or none. */
  readonly isList: boolean;
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
