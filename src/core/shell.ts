const PLAIN = /^[\w@%+=:,./-]+$/;
// no name has them, and the end of a line would end a comment
const CONTROL = /[\u0000-\u001f\u007f]/g;

/** A word as a shell takes it, whatever it holds: commands of a remedy are pasted, and names in them come out of bundles that nobody vouches for. */
export function shellWord(text: string): string {
  const shown = text.replace(CONTROL, '?');
  return PLAIN.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`;
}
