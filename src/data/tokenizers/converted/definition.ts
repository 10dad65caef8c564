/** What the conversions share: the form of tokenizer.json, and special tokens as tokenizer_config.json and added_tokens.json name them. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** A tokenizer in the form of tokenizer.json, and its configuration with what the older files leave unsaid. */
export interface ConvertedTokenizer {
  readonly definition: Record<string, unknown>;
  readonly config: JsonObject;
}

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export const addedToken = (token: Partial<AddedToken> & Pick<AddedToken, "id" | "content">): AddedToken => ({
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ...token,
});

/** Text of a special token, which may be a string or an object. */
export function tokenText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : undefined;
}

const namedSpecials = ["unk_token", "bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token"] as const;

export interface AddedTokenSources {
  readonly config: JsonObject;
  /** added_tokens.json: ids by text. */
  readonly addedTokens: JsonObject;
  /** Ids of the vocabulary. */
  readonly idOf: (token: string) => number | undefined;
  /** Of the format itself, by text; configuration goes before. */
  readonly usual?: readonly AddedToken[];
}

/** Every token that stands for itself wherever it is written, in the order of ids. */
export function collectAddedTokens({ config, addedTokens, idOf, usual = [] }: AddedTokenSources): AddedToken[] {
  const byText = new Map(usual.map((token) => [token.content, token]));
  for (const [content, id] of Object.entries(addedTokens)) byText.set(content, addedToken({ id: Number(id), content, special: false }));
  const listed = Array.isArray(config.additional_special_tokens) ? config.additional_special_tokens : [];
  for (const value of [...namedSpecials.map((name) => config[name]), ...listed]) {
    const content = tokenText(value);
    if (content === undefined) continue;
    const id = byText.get(content)?.id ?? idOf(content);
    const said = typeof value === "object" ? (value as object) : {};
    if (id !== undefined) byText.set(content, addedToken({ ...said, id, content, special: true }));
  }
  const declared = (config.added_tokens_decoder ?? {}) as Readonly<Record<string, Partial<AddedToken> & { content: string }>>;
  for (const [id, token] of Object.entries(declared)) byText.set(token.content, addedToken({ ...token, id: Number(id) }));
  return [...byText.values()].sort((a, b) => a.id - b.id);
}

interface Surrounded {
  readonly before?: string | undefined;
  readonly between?: readonly string[];
  readonly after?: string | undefined;
  /** 1 where the model tells the second text from the first. */
  readonly secondType?: 0 | 1;
  readonly idOf: (token: string) => number | undefined;
}

/** Special tokens around one text, or between two. */
export function surroundingTokens({ before, between = [], after, secondType = 0, idOf }: Surrounded): Record<string, unknown> | null {
  const special = (token: string | undefined, type: number) =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: type } }];
  const text = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
  const tokens = [...new Set([before, ...between, after].filter((token) => token !== undefined))];
  if (tokens.length === 0) return null;
  return {
    type: "TemplateProcessing",
    single: [...special(before, 0), text("A", 0), ...special(after, 0)],
    pair: [
      ...[...special(before, 0), text("A", 0), ...between.flatMap((token) => special(token, 0))],
      ...[text("B", secondType), ...special(after, secondType)],
    ],
    special_tokens: Object.fromEntries(tokens.map((token) => [token, { id: token, ids: [idOf(token)], tokens: [token] }])),
  };
}
