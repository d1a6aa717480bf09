/** Words of a line; none for a blank one. */
export function wordsOf(line: string): string[] {
  const words: string[] = [];
  let start = -1;
  for (let i = 0; i < line.length; i += 1) {
    const c = line.charCodeAt(i);
    // other blanks than these two are rare: whoever has them pays for a regular expression
    if (c < 32 ? c !== 9 : c > 126) return line.trim().split(/\s+/).filter(Boolean);
    if (c === 32 || c === 9) {
      if (start >= 0) words.push(line.slice(start, i));
      start = -1;
    } else if (start < 0) start = i;
  }
  if (start >= 0) words.push(line.slice(start));
  return words;
}

/** How many words follow a keyword as its value: `dev eth0` 1, `srcport 0 0` 2. Words that are not listed stand alone. */
export type Arity = ReadonlyMap<string, number>;

export function arity(one: string, two = ''): Arity {
  return new Map([...wordsOf(one).map((w) => [w, 1] as const), ...wordsOf(two).map((w) => [w, 2] as const)]);
}

export interface Keyed {
  /** First value of each keyword; two-word values are joined by a blank. */
  readonly values: ReadonlyMap<string, string>;
  /** Words that belong to no keyword, in order. */
  readonly bare: readonly string[];
}

/** Reads `key value` words as iproute2 prints them, from left to right: a device named like a keyword stays a value. */
export function readKeyed(words: readonly string[], keys: Arity): Keyed {
  const values = new Map<string, string>();
  const bare: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    const count = keys.get(word);
    if (count === undefined || i + count >= words.length) {
      bare.push(word);
      continue;
    }
    if (!values.has(word)) values.set(word, count === 1 ? words[i + 1]! : `${words[i + 1]} ${words[i + 2]}`);
    i += count;
  }
  return { values, bare };
}

/** Decimal digits as a number that is exact; undefined for everything else. */
export function count(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** A switch as tools print it: on/off, 1/0, yes/no, true/false. */
export function onOff(text: string | undefined): boolean | undefined {
  if (text === 'on' || text === '1' || text === 'yes' || text === 'true') return true;
  return text === 'off' || text === '0' || text === 'no' || text === 'false' ? false : undefined;
}
