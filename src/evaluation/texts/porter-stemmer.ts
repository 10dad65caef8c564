/**
 * English words without their endings. Porter 1980, "An algorithm for suffix stripping", with the changes that NLTK made and that
 * rouge-score therefore counts with: irregular words, y kept behind a vowel, short words in -ies and -ied, -logi, -fulli, and
 * an e put back behind a vowel and a consonant alone.
 */

const irregular: ReadonlyMap<string, string> = new Map([
  ...(["sky", "skies"].map((form) => [form, "sky"]) as [string, string][]),
  ...([
    ["dying", "die"],
    ["lying", "lie"],
    ["tying", "tie"],
  ] as [string, string][]),
  ...(["inning", "outing", "canning"].flatMap((word) => [
    [word, word],
    [`${word}s`, word],
  ]) as [string, string][]),
  ...(["news", "howe", "proceed", "exceed", "succeed"].map((word) => [word, word]) as [string, string][]),
]);

/** @param word in lower case */
export function stem(word: string): string {
  if (word.length <= 2) return word;
  return (
    irregular.get(word) ??
    [plural, pastAndGerund, finalY, doubleSuffix, suffix, residue, finalE, finalL].reduce((left, step) => step(left), word)
  );
}

/** "c" and "v" for each letter; y is a vowel behind a consonant. */
function letters(word: string): string {
  let kinds = "";
  for (const letter of word) kinds += "aeiou".includes(letter) || (letter === "y" && kinds.endsWith("c")) ? "v" : "c";
  return kinds;
}

/** How often consonants follow vowels: Porter's m. */
const measure = (word: string): number => letters(word).split("vc").length - 1;
const endsInDouble = (word: string): boolean => word.length >= 2 && word.at(-1) === word.at(-2) && letters(word).endsWith("c");
/** Porter's *o, and the same of two letters. */
const endsShort = (word: string): boolean => {
  const kinds = letters(word);
  return kinds === "vc" || (kinds.endsWith("cvc") && !/[wxy]$/.test(word));
};

type Condition = (stem: string) => boolean;
type Rule = readonly [ending: string, replacement: string, condition?: Condition];

/** The first rule whose ending the word has decides, also where its condition does not hold. */
function firstOf(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([ending]) => word.endsWith(ending));
  if (!rule) return word;
  const [ending, replacement, condition] = rule;
  const left = word.slice(0, word.length - ending.length);
  return !condition || condition(left) ? left + replacement : word;
}

function plural(word: string): string {
  if (word.length === 4 && word.endsWith("ies")) return word.slice(0, -1);
  return firstOf(word, [
    ["sses", "ss"],
    ["ies", "i"],
    ["ss", "ss"],
    ["s", ""],
  ]);
}

function pastAndGerund(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith("eed")) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  const ending = ["ed", "ing"].find((end) => word.endsWith(end) && letters(word.slice(0, -end.length)).includes("v"));
  if (!ending) return word;
  const left = word.slice(0, -ending.length);
  if (/(at|bl|iz)$/.test(left)) return `${left}e`;
  if (endsInDouble(left)) return /[lsz]$/.test(left) ? left : left.slice(0, -1);
  return measure(left) === 1 && endsShort(left) ? `${left}e` : left;
}

const finalY = (word: string): string => firstOf(word, [["y", "i", (left) => left.length > 1 && letters(left).endsWith("c")]]);

const hasMeasure: Condition = (left) => measure(left) > 0;

function doubleSuffix(word: string): string {
  if (word.endsWith("alli") && hasMeasure(word.slice(0, -4))) return doubleSuffix(word.slice(0, -2));
  const pairs = { ational: "ate", tional: "tion", enci: "ence", anci: "ance", izer: "ize", bli: "ble", alli: "al", entli: "ent", eli: "e" };
  const others = { ousli: "ous", ization: "ize", ation: "ate", ator: "ate", alism: "al", iveness: "ive", fulness: "ful", ousness: "ous" };
  const rules = Object.entries({ ...pairs, ...others, aliti: "al", iviti: "ive", biliti: "ble", fulli: "ful" });
  return firstOf(word, [
    ...rules.map(([ending, short]): Rule => [ending, short, hasMeasure]),
    ["logi", "log", (left) => hasMeasure(`${left}l`)],
  ]);
}

function suffix(word: string): string {
  const rules = { icate: "ic", ative: "", alize: "al", iciti: "ic", ical: "ic", ful: "", ness: "" };
  return firstOf(
    word,
    Object.entries(rules).map(([ending, short]): Rule => [ending, short, hasMeasure]),
  );
}

function residue(word: string): string {
  const isLong: Condition = (left) => measure(left) > 1;
  const before = ["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"];
  const behind = ["ou", "ism", "ate", "iti", "ous", "ive", "ize"];
  const removed = (ending: string): Rule => [ending, "", isLong];
  return firstOf(word, [...before.map(removed), ["ion", "", (left) => isLong(left) && /[st]$/.test(left)], ...behind.map(removed)]);
}

function finalE(word: string): string {
  if (!word.endsWith("e")) return word;
  const left = word.slice(0, -1);
  return measure(left) > 1 || (measure(left) === 1 && !endsShort(left)) ? left : word;
}

const finalL = (word: string): string => (word.endsWith("ll") && measure(word.slice(0, -1)) > 1 ? word.slice(0, -1) : word);
