/** Bidi overrides, zero-width and other invisible characters that could make a reader see something else than what is there. */
const invisible =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\u{e0000}-\u{e0fff}]|\u034f/gu;

/** Text from a bundle with every control, bidi, zero-width and blank-looking character spelled out. Tabs and newlines stay. */
export function visible(text: string): string {
  return text.replace(invisible, (c) => {
    const code = c.codePointAt(0) ?? 0;
    return code < 0x20 || code === 0x7f ? `^${String.fromCharCode(code ^ 0x40)}` : `\\u{${code.toString(16)}}`;
  });
}

/** The same for one terminal line: newlines and tabs are spelled out too. */
export function terminal(text: string): string {
  return visible(text).replaceAll('\n', '^J').replaceAll('\t', ' ');
}

/** Applies `visible` to every string of a plain JSON value. */
export function visibleDeep<T>(value: T): T {
  if (typeof value === 'string') return visible(value) as T;
  if (Array.isArray(value)) return value.map(visibleDeep) as T;
  if (value !== null && typeof value === 'object') {
    const copy: Record<string, unknown> = Object.create(null);
    for (const [key, item] of Object.entries(value)) copy[visible(key)] = visibleDeep(item);
    return copy as T;
  }
  return value;
}
