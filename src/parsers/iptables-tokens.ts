/** One word of a rule line. */
export interface Token {
  readonly text: string;
  /** Written in quotes: never an option, whatever it starts with. */
  readonly quoted: boolean;
  /** As it stands in the file. */
  readonly raw: string;
}

const SPACE = 32;
const TAB = 9;
const QUOTE = 34;
const BACKSLASH = 92;

/** Splits as iptables-restore does: quotes open and close a token, a backslash escapes inside quotes only. */
export function tokenize(text: string): { tokens: Token[]; open: boolean } {
  const tokens: Token[] = [];
  const end = text.length;
  let at = 0;
  while (at < end) {
    const code = text.charCodeAt(at);
    if (code === SPACE || code === TAB) {
      at += 1;
      continue;
    }
    const start = at;
    while (at < end) {
      const c = text.charCodeAt(at);
      if (c === SPACE || c === TAB || c === QUOTE) break;
      at += 1;
    }
    if (at >= end || text.charCodeAt(at) !== QUOTE) {
      const raw = text.slice(start, at);
      tokens.push({ text: raw, quoted: false, raw });
      continue;
    }
    let value = text.slice(start, at);
    at += 1;
    let from = at;
    for (;;) {
      if (at >= end)
        return {
          tokens: [...tokens, { text: value + text.slice(from), quoted: true, raw: text.slice(start) }],
          open: true,
        };
      const c = text.charCodeAt(at);
      if (c === QUOTE) break;
      if (c === BACKSLASH) {
        value += text.slice(from, at);
        from = at + 1;
        at += 1;
      }
      at += 1;
    }
    value += text.slice(from, at);
    at += 1;
    tokens.push({ text: value, quoted: true, raw: text.slice(start, at) });
  }
  return { tokens, open: false };
}

/** Options that iptables prints through xtables_save_string: quoted unless made of letters, digits, `_` and `-`. */
export const SAVED_STRINGS = new Set(['--comment', '--log-prefix', '--nflog-prefix', '--ulog-prefix']);
const ALWAYS_QUOTED = new Set(['--u32', '--bytecode', '--string', '--hex-string']);

/** How iptables-save writes a value; IptOption.written says where a file has it otherwise. */
export function writeValue(flag: string, value: string): string {
  const plain = SAVED_STRINGS.has(flag)
    ? /^[\w-]+$/.test(value)
    : !ALWAYS_QUOTED.has(flag) && /^[^\s"'\\]+$/.test(value);
  return plain ? value : `"${value.replace(/["'\\]/g, '\\$&')}"`;
}
