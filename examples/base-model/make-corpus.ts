/**
 * Writes the text that the small base model learns, and the instructions that the quickstart tunes it on.
 * Both are made from the same small world of animals, colours, places and numbers, by one seed:
 *   npx tsx examples/base-model/make-corpus.ts FOLDER
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRandom, type Random } from "../../src/base/random.ts";

const animals: Record<string, { plural: string; sound: string; food: string; home: string; legs: number; size: number }> = {
  fox: { plural: "foxes", sound: "barks", food: "berries", home: "forest", legs: 4, size: 4 },
  hen: { plural: "hens", sound: "clucks", food: "grain", home: "farm", legs: 2, size: 2 },
  cow: { plural: "cows", sound: "moos", food: "grass", home: "farm", legs: 4, size: 8 },
  owl: { plural: "owls", sound: "hoots", food: "mice", home: "forest", legs: 2, size: 3 },
  frog: { plural: "frogs", sound: "croaks", food: "flies", home: "pond", legs: 4, size: 1 },
  duck: { plural: "ducks", sound: "quacks", food: "water plants", home: "pond", legs: 2, size: 2 },
  cat: { plural: "cats", sound: "meows", food: "fish", home: "house", legs: 4, size: 3 },
  dog: { plural: "dogs", sound: "barks", food: "meat", home: "house", legs: 4, size: 5 },
  bee: { plural: "bees", sound: "buzzes", food: "nectar", home: "garden", legs: 6, size: 0 },
  horse: { plural: "horses", sound: "neighs", food: "hay", home: "farm", legs: 4, size: 9 },
  mouse: { plural: "mice", sound: "squeaks", food: "seeds", home: "field", legs: 4, size: 1 },
  bear: { plural: "bears", sound: "growls", food: "honey", home: "mountains", legs: 4, size: 10 },
};
const colours = ["red", "brown", "white", "black", "grey", "yellow", "green", "golden"];
const moods: Record<string, string> = {
  happy: "sad",
  brave: "shy",
  quick: "slow",
  loud: "quiet",
  young: "old",
  warm: "cold",
  big: "small",
  clean: "dirty",
};
const names = ["Ada", "Ben", "Cora", "Dan", "Eva", "Finn", "Gwen", "Hugo", "Ida", "Jon", "Kim", "Leo"];
const weathers = ["sunny", "rainy", "windy", "snowy", "foggy"];
const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const things = ["basket", "lantern", "kite", "drum", "book", "map", "bell", "rope", "cup", "boat"];
const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

const keys = Object.keys(animals);
const an = (word: string): string => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);

function maker(random: Random) {
  const pick = <T>(items: readonly T[]): T => items[random.integer(items.length)]!;
  const other = <T>(items: readonly T[], not: T): T => pick(items.filter((item) => item !== not));

  const sentences: (() => string)[] = [
    () => {
      const a = pick(keys);
      return `The ${a} ${animals[a]!.sound}, and it eats ${animals[a]!.food}.`;
    },
    () => {
      const a = pick(keys);
      return `${animals[a]!.plural[0]!.toUpperCase()}${animals[a]!.plural.slice(1)} live in the ${animals[a]!.home}.`;
    },
    () => {
      const a = pick(keys);
      return `${an(a)[0]!.toUpperCase()}${an(a).slice(1)} has ${words[animals[a]!.legs]} legs.`;
    },
    () => {
      const [a, b] = [random.integer(7), random.integer(6)];
      return `${words[a]![0]!.toUpperCase()}${words[a]!.slice(1)} and ${words[b]} make ${words[a + b]}.`;
    },
    () => {
      const m = pick(Object.keys(moods));
      return `The opposite of ${m} is ${moods[m]}.`;
    },
    () => {
      const i = random.integer(7);
      return `After ${days[i]} comes ${days[(i + 1) % 7]}.`;
    },
    () => {
      const a = pick(keys);
      const b = other(
        keys.filter((k) => animals[k]!.size !== animals[a]!.size),
        a,
      );
      const big = animals[a]!.size > animals[b]!.size;
      return `${an(a)[0]!.toUpperCase()}${an(a).slice(1)} is ${big ? "bigger" : "smaller"} than ${an(b)}.`;
    },
  ];
  const story = (): string => {
    const [who, friend] = [pick(names), pick(keys)];
    const { sound, food, home } = animals[friend]!;
    const [colour, mood, thing, day, weather] = [pick(colours), pick(Object.keys(moods)), pick(things), pick(days), pick(weathers)];
    const second = other(names, who);
    return pick([
      `On a ${weather} ${day}, ${who} went to the ${home} with a ${thing}. There ${who} met a ${colour} ${friend}. The ${friend} was ${mood}. ${who} gave the ${friend} some ${food}, and the ${friend} was thankful. They became good friends.`,
      `${who} had a ${colour} ${friend}. Every ${day} the ${friend} ${sound} at the door. ${who} said, "You must be hungry." Then ${who} brought some ${food} from the ${home}. The ${friend} was not ${moods[mood]} any more, it was ${mood}.`,
      `It was a ${weather} ${day}. ${who} and ${second} looked for a ${thing} in the ${home}. "I hear a ${friend}," said ${second}. The ${colour} ${friend} had found the ${thing}. ${who} was ${mood} and said thank you.`,
      `${who} asked a question: who lives in the ${home}?\n"I know the answer," said ${second}. "The ${friend} lives there."\nSo they went to the ${home} on ${day} and saw a ${colour} ${friend}.`,
      `${who} had three things: a ${thing}, some ${food} and a ${colour} ${friend}.\nOn ${day} it was ${weather}, and the ${friend} was ${mood}.\n"Question after question," said ${second}, "and no answer."`,
    ]);
  };
  // Questions of other kinds than the instructions below: the base model has seen the form, not the tasks.
  const questions: (() => [string, string])[] = [
    () => {
      const home = animals[pick(keys)]!.home;
      return [`Who lives in the ${home}?`, `The ${keys.filter((a) => animals[a]!.home === home).join(" and the ")}.`];
    },
    () => {
      const a = pick(keys);
      return [`Which animal ${animals[a]!.sound}?`, `The ${keys.find((k) => animals[k]!.sound === animals[a]!.sound)}.`];
    },
    () => {
      const n = random.integer(12);
      return [`Which number comes after ${words[n]}?`, `${words[n + 1]![0]!.toUpperCase()}${words[n + 1]!.slice(1)}.`];
    },
  ];
  const answered = (): string => {
    const [question, answer] = pick(questions)();
    return `Question: ${question}\nAnswer: ${answer}`;
  };
  const document = (): string => {
    const kind = random.next();
    if (kind < 0.15) return answered();
    return kind < 0.65 ? story() : Array.from({ length: 3 + random.integer(4) }, () => pick(sentences)()).join(" ");
  };

  const instructions: (() => [string, string])[] = [
    () => {
      const a = pick(keys);
      return [`What does the ${a} eat?`, `The ${a} eats ${animals[a]!.food}.`];
    },
    () => {
      const a = pick(keys);
      return [`Where do ${animals[a]!.plural} live?`, `They live in the ${animals[a]!.home}.`];
    },
    () => {
      const a = pick(keys);
      return [`How many legs has ${an(a)}?`, `It has ${words[animals[a]!.legs]} legs.`];
    },
    () => {
      const [a, b] = [random.integer(7), random.integer(6)];
      return [`What is ${words[a]} and ${words[b]}?`, `It is ${words[a + b]}.`];
    },
    () => {
      const m = pick([...Object.keys(moods), ...Object.values(moods)]);
      const opposite = moods[m] ?? Object.keys(moods).find((k) => moods[k] === m)!;
      return [`What is the opposite of ${m}?`, `The opposite of ${m} is ${opposite}.`];
    },
    () => {
      const i = random.integer(7);
      return [`Which day comes after ${days[i]}?`, `${days[(i + 1) % 7]} comes after ${days[i]}.`];
    },
    () => {
      const a = pick(keys);
      const b = other(
        keys.filter((k) => animals[k]!.size !== animals[a]!.size),
        a,
      );
      const big = animals[a]!.size > animals[b]!.size ? a : b;
      return [`Which is bigger, ${an(a)} or ${an(b)}?`, `The ${big} is bigger.`];
    },
    () => {
      const [n, a, t] = [pick(names), pick(keys), pick(things)];
      return [`Write a sentence about ${n}, ${an(a)} and a ${t}.`, `${n} showed the ${t} to the ${a}.`];
    },
    () => {
      const [c, a] = [pick(colours), pick(keys)];
      return [`Say that the ${a} is ${c} and likes ${animals[a]!.food}.`, `The ${c} ${a} likes ${animals[a]!.food}.`];
    },
  ];
  return { document, instruction: () => pick(instructions)() };
}

const folder = process.argv[2] ?? "corpus";
mkdirSync(folder, { recursive: true });
const corpus = maker(createRandom(1));
const documents = Array.from({ length: 12000 }, () => ({ text: corpus.document() }));
writeFileSync(join(folder, "corpus.jsonl"), documents.map((row) => `${JSON.stringify(row)}\n`).join(""));

const tuning = maker(createRandom(2));
const rows = new Map<string, string>();
while (rows.size < 420) {
  const [instruction, output] = tuning.instruction();
  rows.set(instruction, output);
}
writeFileSync(
  join(folder, "instructions.jsonl"),
  [...rows].map(([instruction, output]) => `${JSON.stringify({ instruction, output })}\n`).join(""),
);
console.log(
  `${documents.length} documents, ${documents.reduce((sum, { text }) => sum + text.length, 0)} characters; ${rows.size} instructions`,
);
