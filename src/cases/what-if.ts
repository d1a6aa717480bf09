import type { Change, Edit } from '../net/what-if.ts';
import { Failure } from './failure.ts';
import { readBridge, readIp } from './what-if-ip.ts';
import { isIptables, readIptables } from './what-if-iptables.ts';
import { refuse, shellWords } from './what-if-words.ts';

/** A change, and the node on which it is made. */
export interface NodeChange {
  readonly node: string;
  readonly change: Change;
}

/** Numbers below zero that one change may give to the lines that it makes. */
const MARKS = 100;

/**
 * What the values of `--if` mean: `iptables -I FORWARD -j ACCEPT @node-b`. Without `@node` it is the only node of the case. Nothing is
 * ignored: a command that is not understood is refused with a sentence.
 */
export function readChanges(texts: readonly string[], nodes: readonly string[]): readonly NodeChange[] {
  const changes: NodeChange[] = [];
  for (const text of texts) {
    const { line, node } = placeOf(text, nodes);
    for (const { edits, command } of editsOf(line))
      for (const edit of edits)
        changes.push({ node, change: { text: command, mark: -1 - changes.length * MARKS, edit } });
  }
  return changes;
}

/** The command that made a line with such a number. */
export function commandAt(changes: readonly NodeChange[], line: number): string | null {
  return changes[Math.floor((-line - 1) / MARKS)]?.change.text ?? null;
}

function placeOf(text: string, nodes: readonly string[]): { line: string; node: string } {
  const m = /^(.*\S)\s+@(\S+)\s*$/s.exec(text);
  const few = nodes.length > 8 ? `${nodes.slice(0, 8).join(', ')} and ${nodes.length - 8} more` : nodes.join(', ');
  if (m !== null) {
    const [, line = '', node = ''] = m;
    if (!nodes.includes(node))
      throw new Failure('usage', `--if "${text}": there is no node ${node} in this case (${few})`);
    return { line, node };
  }
  const [only] = nodes;
  if (only === undefined || nodes.length > 1)
    throw new Failure('usage', `--if "${text}" does not say where: put @NODE behind it (${few})`);
  return { line: text, node: only };
}

interface Command {
  readonly command: string;
  readonly edits: readonly Edit[];
}

function editsOf(line: string): readonly Command[] {
  const commands: Command[] = [];
  // `printf 'k = v\n' > /etc/sysctl.d/x.conf && sysctl --system`: what is kept over a reboot is set at once as well
  const kept =
    /^\s*(?:printf|echo)\s+(?:'([^']*)'|"([^"]*)")\s*>>?\s*\/etc\/sysctl\.(?:d\/[\w.-]+\.conf|conf)\s*(?:&&|;)\s*(sysctl --system|sysctl -p\S*(?: \S+)?)\s*$/.exec(
      line,
    );
  if (kept !== null) {
    const settings = (kept[1] ?? kept[2] ?? '')
      .replaceAll('\\n', '\n')
      .split('\n')
      .filter((s) => s.trim() !== '');
    return [{ command: line.trim(), edits: settings.map((s) => settingOf(s, line)) }];
  }
  for (const { words, text } of shellWords(line)) {
    const own = words[0] === 'sudo' ? words.slice(1) : words;
    const program = (own[0] ?? '').replace(/^\/(usr\/)?s?bin\//, '');
    const rest = [program, ...own.slice(1)];
    if (isIptables(program)) commands.push({ command: text, edits: [readIptables(rest, text)] });
    else if (program === 'sysctl') commands.push({ command: text, edits: readSysctl(own.slice(1), text) });
    else if (program === 'ip') commands.push({ command: text, edits: [readIp(rest, text)] });
    else if (program === 'bridge') commands.push({ command: text, edits: [readBridge(rest, text)] });
    else refuse(text, `${program} is none of iptables, ip6tables (-nft, -legacy), sysctl, ip and bridge`);
  }
  if (commands.length === 0) refuse(line, 'it is empty');
  return commands;
}

function readSysctl(words: readonly string[], text: string): Edit[] {
  const settings: string[] = [];
  const rest = words.filter((w) => !/^(-[wq]{1,2}|--write|--quiet)$/.test(w));
  for (let i = 0; i < rest.length; i += 1) {
    // `a = 1` as three words
    if (rest[i + 1] === '=' && rest[i + 2] !== undefined) {
      settings.push(`${rest[i]}=${rest[i + 2]}`);
      i += 2;
    } else settings.push(rest[i] as string);
  }
  if (settings.length === 0) refuse(text, 'it sets nothing');
  return settings.map((s) => settingOf(s, text));
}

/** `net.ipv4.ip_forward=1`: the first `.` or `/` separates, the other one then stands for it within a name. */
function settingOf(text: string, command: string): Edit {
  const m = /^\s*(?:\/proc\/sys\/)?([A-Za-z][^\s=]*)\s*=\s*(\S.*?)\s*$/.exec(text);
  if (m === null) refuse(command, `"${text}" is no key=value`);
  const [, name = '', value = ''] = m;
  const key =
    name.search(/[./]/) >= 0 && /[./]/.exec(name)?.[0] === '.'
      ? name.replace(/[./]/g, (c) => (c === '.' ? '/' : '.'))
      : name;
  if (!/^net\/(ipv4|ipv6|bridge|netfilter)\//.test(key))
    refuse(command, `${name} is none of the net.ipv4, net.ipv6, net.bridge and net.netfilter settings`);
  if (/disable_ipv6$/.test(key)) refuse(command, `${name} also adds or removes addresses, which is not modelled`);
  if (!/^-?\d+( -?\d+)*$/.test(value)) refuse(command, `"${value}" is no number`);
  return { kind: 'sysctl', key, value };
}
