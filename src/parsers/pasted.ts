/** `[root@node ~]# ip addr`, `bob@node:/etc$`. */
const PROMPT = /^(?:\[[\w.-]{1,99}@[^\]\n]{1,200}\]|[\w.-]{1,99}@[\w.-]{1,99}:[^#$\n]{0,200})\s?[#$](?:\s|$)/;
/** `# ip route`, `$ sudo iptables-save`: not the comments that tools write. */
const COMMAND =
  /^[#$] ?(?:sudo )?(?:ip|bridge|brctl|ifconfig|route|arp|sysctl|ip6?tables|ip6?tables-(?:nft-|legacy-)?save|nft|ipset|ipvsadm|docker|crictl|kubectl|cat|grep|ss|netstat)(?: |$)/;
const SUDO = /^(?:\[sudo\] |sudo: )/;
/** What a shell or a tool that copies says instead of a file, whatever its language: `cat: /etc/x: Datei nicht gefunden`. */
const REFUSAL =
  /^(?:-?(?:\/[\w/.-]{1,99}\/)?(?:ba|da|z|k|a)?sh|sudo|cat|less|more|head|tail|grep|ls)(?:: (?:line )?\d{1,9})?: \S/;

/**
 * Text that somebody pasted, without what the terminal showed beside it: prompts, commands and what sudo says become empty lines, so that
 * lines keep their numbers. null: it is nothing but the refusal of a shell.
 */
export function unpasted(text: string): string | null {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const told = lines.map((line) => (PROMPT.test(line) || COMMAND.test(line) || SUDO.test(line) ? '' : line));
  const rest = told.filter((line) => line.trim() !== '');
  const refused = lines.some((line) => REFUSAL.test(line)) && rest.every((line) => REFUSAL.test(line));
  if (refused) return null;
  // a byte-order mark is a fault of some files, and is left to their parsers
  return lines.every((line, i) => line === told[i]) ? text : told.join('\n');
}
