/** Distinct lines that are kept; a cluster of a thousand nodes has a few thousand routes in all. */
const KEPT = 8192;

/**
 * Lines that every node of a cluster has, such as its routes to all others, are taken apart once; on the same line of another file it is the
 * same object. `read` says what a line is, or null: it is of another kind; `moved` is that on another line.
 */
export function takenApartOnce<T extends object>(
  read: (raw: string, line: number) => T | null,
  moved: (found: T, line: number) => T,
): (raw: string, line: number) => T | null {
  const known = new Map<string, { line: number; found: T }>();
  return (raw, line) => {
    const before = known.get(raw);
    if (before !== undefined) {
      if (before.line !== line) {
        before.found = moved(before.found, line);
        before.line = line;
      }
      return before.found;
    }
    // a copy: a part of a text keeps all of the text
    const own = Buffer.from(raw).toString();
    const found = read(own, line);
    if (found === null) return null;
    if (known.size >= KEPT) known.clear();
    known.set(own, { line, found });
    return found;
  };
}
