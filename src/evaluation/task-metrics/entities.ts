/**
 * Entities from tags of words, as conlleval and seqeval (its default mode) read them: B- and I- (also E- and S-) open and go on,
 * and an I- that cannot go on opens one of its own.
 */
import { byItem } from "./by-item.ts";
import { type LabelCounts, sumOf } from "./label-counts.ts";
import type { TagItem } from "./task-metric.ts";

/** Entities of a sentence, as "kind start end". */
export function entitiesOf(tags: readonly string[]): Set<string> {
  const entities = new Set<string>();
  let [before, kindBefore, start] = ["O", "", 0];
  [...tags, "O"].forEach((tag, i) => {
    const prefix = tag[0] ?? "O";
    const kind = tag.includes("-") ? tag.slice(tag.indexOf("-") + 1) : prefix === "O" ? "" : "_";
    if (ends({ before, prefix, isOther: kind !== kindBefore })) entities.add(`${kindBefore} ${start} ${i - 1}`);
    if (begins({ before, prefix, isOther: kind !== kindBefore })) start = i;
    [before, kindBefore] = [prefix, kind];
  });
  return entities;
}

interface Step {
  /** Prefix of the tag before and of this one. */
  readonly before: string;
  readonly prefix: string;
  /** True if the kind changes. */
  readonly isOther: boolean;
}

const closing = "ES";
const opening = "BS";

function ends({ before, prefix, isOther }: Step): boolean {
  if (before === "O") return false;
  return closing.includes(before) || opening.includes(prefix) || prefix === "O" || isOther;
}

function begins({ before, prefix, isOther }: Step): boolean {
  if (prefix === "O") return false;
  return opening.includes(prefix) || before === "O" || closing.includes(before) || isOther;
}

/** Entities of all sentences together: those found, those predicted, those there are. */
export function countEntities(items: readonly TagItem[]): LabelCounts {
  return sumOf(items.map(countsOf));
}

const countsOf = byItem((item: TagItem): LabelCounts => {
  const [found, wanted] = [entitiesOf(item.predicted), entitiesOf(item.actual)];
  return { hits: [...found].filter((entity) => wanted.has(entity)).length, predicted: found.size, actual: wanted.size };
});
