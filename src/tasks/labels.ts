/** Names of labels: where a task takes them from, and how config.json holds them (`id2label`). */
import { ConfigError, DataError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";

/** Labels in the order of their ids: numbers by size, names by letters. */
export function collectLabels(found: Iterable<string>): string[] {
  const labels = [...new Set(found)];
  const areNumbers = labels.every((label) => label.trim() !== "" && Number.isFinite(Number(label)));
  return labels.sort((a, b) => (areNumbers ? Number(a) - Number(b) : a < b ? -1 : 1));
}

/** The labels that config.json names; undefined where it has none, or only the placeholders LABEL_0, LABEL_1 that transformers writes. */
export function labelsOfCheckpoint({ id2label }: Readonly<Record<string, unknown>>): string[] | undefined {
  if (typeof id2label !== "object" || id2label === null) return undefined;
  const entries = Object.entries(id2label as Record<string, unknown>).sort(([a], [b]) => Number(a) - Number(b));
  const labels = entries.map(([, label]) => String(label));
  return labels.length === 0 || labels.every((label, id) => label === `LABEL_${id}`) ? undefined : labels;
}

export interface LabelSources {
  readonly configured: readonly string[] | undefined;
  readonly checkpoint: readonly string[] | undefined;
  /** Those of the training rows. */
  readonly collected: readonly string[] | undefined;
}

/** Configured ones first, then the checkpoint's if they cover the training rows, then those of the rows.
 * @throws ConfigError if there are none, or the configured ones do not cover the rows */
export function chooseLabels({ configured, checkpoint, collected }: LabelSources): readonly string[] {
  const covers = (labels: readonly string[]): boolean => (collected ?? []).every((label) => labels.includes(label));
  if (configured) {
    const missing = (collected ?? []).filter((label) => !configured.includes(label));
    if (missing.length > 0)
      throw new ConfigError(
        `task.labels: the training rows have ${missing
          .slice(0, 5)
          .map((label) => JSON.stringify(label))
          .join(", ")}, which is not among ${configured.join(", ")}. Add it, or correct the rows.`,
      );
    return configured;
  }
  const labels = checkpoint && covers(checkpoint) ? checkpoint : collected;
  if (!labels || labels.length === 0)
    throw new ConfigError(
      "task.labels: the checkpoint names no labels (id2label in config.json) and there are no training rows to collect them from. Name them.",
    );
  return labels;
}

export const labelFields = (labels: readonly string[]): Record<string, unknown> => ({
  id2label: Object.fromEntries(labels.map((label, id) => [String(id), label])),
  label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
});

/** @throws DataError naming the nearest label */
export function idOfLabel(labels: readonly string[], label: string): number {
  const id = labels.indexOf(label);
  if (id >= 0) return id;
  const nearest = nearestName(label, labels);
  throw new DataError(
    `the label ${JSON.stringify(label)} does not occur in the training rows.${nearest ? ` Did you mean ${JSON.stringify(nearest)}?` : ""} Known: ${labels.slice(0, 20).join(", ")}. Correct it, or name all labels in task.labels.`,
  );
}
