import type { JsonValue } from './json-records.ts';

/** Makes a record of its fields in file order; `offset` and `length` are those of its text. */
type MakeRecord = (offset: number, length: number, fields: ReadonlyMap<string, JsonValue>) => JsonValue;

/**
 * Strict JSON in one pass; undefined for anything that is not plain, strict JSON of at most `depth` levels (escapes in strings are
 * not plain either): then a tolerant reader has to tell what is wrong. Of a repeated key the first wins.
 */
export function scanJson(text: string, depth: number, record: MakeRecord): JsonValue | undefined {
  const scan = new Scan(text, depth, record);
  const value = scan.value(0);
  scan.blank();
  return value !== undefined && scan.at === text.length ? value : undefined;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

class Scan {
  at = 0;
  readonly #text: string;
  readonly #depth: number;
  readonly #record: MakeRecord;

  constructor(text: string, depth: number, record: MakeRecord) {
    this.#text = text;
    this.#depth = depth;
    this.#record = record;
  }

  blank(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.at);
      if (c !== 32 && c !== 10 && c !== 9 && c !== 13) return;
      this.at += 1;
    }
  }

  value(level: number): JsonValue | undefined {
    this.blank();
    const c = this.#text.charCodeAt(this.at);
    if (c === 34) return this.#string();
    if (c === 123) return level < this.#depth ? this.#object(level + 1) : undefined;
    if (c === 91) return level < this.#depth ? this.#array(level + 1) : undefined;
    if (c === 116) return this.#word('true', true);
    if (c === 102) return this.#word('false', false);
    if (c === 110) return this.#word('null', null);
    NUMBER.lastIndex = this.at;
    const number = NUMBER.exec(this.#text)?.[0];
    if (number === undefined) return undefined;
    this.at += number.length;
    return Number(number);
  }

  #word<T>(word: string, value: T): T | undefined {
    if (!this.#text.startsWith(word, this.at)) return undefined;
    this.at += word.length;
    return value;
  }

  #string(): string | undefined {
    const start = this.at + 1;
    for (let i = start; i < this.#text.length; i += 1) {
      const c = this.#text.charCodeAt(i);
      if (c === 34) {
        this.at = i + 1;
        return this.#text.slice(start, i);
      }
      // escapes, and characters that may not stand in a string
      if (c === 92 || c < 32) return undefined;
    }
    return undefined;
  }

  #array(level: number): JsonValue | undefined {
    const values: JsonValue[] = [];
    this.at += 1;
    if (this.#ends(93)) return values;
    for (;;) {
      const value = this.value(level);
      if (value === undefined) return undefined;
      values.push(value);
      if (this.#ends(93)) return values;
      if (!this.#comma()) return undefined;
    }
  }

  #object(level: number): JsonValue | undefined {
    const start = this.at;
    const fields = new Map<string, JsonValue>();
    this.at += 1;
    if (this.#ends(125)) return this.#record(start, this.at - start, fields);
    for (;;) {
      this.blank();
      const key = this.#text.charCodeAt(this.at) === 34 ? this.#string() : undefined;
      this.blank();
      if (key === undefined || this.#text.charCodeAt(this.at) !== 58) return undefined;
      this.at += 1;
      const value = this.value(level);
      if (value === undefined) return undefined;
      if (!fields.has(key)) fields.set(key, value);
      if (this.#ends(125)) return this.#record(start, this.at - start, fields);
      if (!this.#comma()) return undefined;
    }
  }

  #ends(bracket: number): boolean {
    this.blank();
    if (this.#text.charCodeAt(this.at) !== bracket) return false;
    this.at += 1;
    return true;
  }

  #comma(): boolean {
    if (this.#text.charCodeAt(this.at) !== 44) return false;
    this.at += 1;
    return true;
  }
}
