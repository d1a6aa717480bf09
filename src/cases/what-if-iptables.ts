import type { Edit, RulesetAct } from '../net/what-if.ts';
import { readRule } from '../parsers/iptables-rule.ts';
import { writeValue } from '../parsers/iptables-tokens.ts';
import { MATCHES, type OptionForm, prefix, protocol, TARGETS } from './what-if-options.ts';
import { refuse } from './what-if-words.ts';

const NAMES = /^(ip6?tables)(-nft|-legacy)?$/;

export const isIptables = (program: string): boolean => NAMES.test(program);

const COMMANDS: Readonly<Record<string, string>> = {
  '--append': '-A',
  '--insert': '-I',
  '--delete': '-D',
  '--replace': '-R',
  '--policy': '-P',
  '--flush': '-F',
  '--new-chain': '-N',
  '--delete-chain': '-X',
  '--new': '-N',
};

/** `iptables` and its kin to an edit of a ruleset, the rule in iptables-save's own form. */
export function readIptables(words: readonly string[], text: string): Edit {
  const [, base, suffix] = NAMES.exec(words[0] ?? '') as RegExpExecArray;
  const family = base === 'iptables' ? 4 : 6;
  const backend = suffix === '-nft' ? 'nft' : suffix === '-legacy' ? 'legacy' : 'plain';
  let table = 'filter';
  let command = '';
  const args: string[] = [];
  const spec: string[] = [];
  for (let i = 1; i < words.length; i += 1) {
    const word = words[i] as string;
    const name = COMMANDS[word] ?? word;
    if (word === '-t' || word === '--table') {
      table = words[i + 1] ?? '';
      i += 1;
    } else if (word === '-w' || word === '--wait' || word === '-W') {
      if (/^\d+$/.test(words[i + 1] ?? '')) i += 1;
    } else if (word === '-v' || word === '--verbose' || word === '-n') continue;
    else if (command === '' && /^-[AIDRPFNX]$/.test(name)) {
      command = name;
      while (i + 1 < words.length && !/^[-!]/.test(words[i + 1] as string) && args.length < 2) {
        args.push(words[i + 1] as string);
        i += 1;
      }
    } else if (command === '') refuse(text, `"${word}" does not change a rule; -A, -I, -D, -R, -P, -F, -N and -X do`);
    else spec.push(word);
  }
  const act = actOf(command, args, spec, { family, table, text });
  return { kind: 'ruleset', family, backend, table, act };
}

interface Place {
  readonly family: 4 | 6;
  readonly table: string;
  readonly text: string;
}

function actOf(command: string, args: readonly string[], spec: readonly string[], place: Place): RulesetAct {
  const { text } = place;
  const [chain, second] = args;
  const bare = () => {
    if (spec.length > 0) refuse(text, `${command} takes no "${spec[0]}"`);
  };
  if (command === '-F' || command === '-X') {
    bare();
    return { op: command === '-F' ? 'flush' : 'delete-chain', chain: chain ?? null };
  }
  if (chain === undefined) refuse(text, `${command === '' ? 'it has no command' : `${command} needs a chain`}`);
  const at = second === undefined ? null : /^\d+$/.test(second) ? Number(second) : null;
  if (second !== undefined && at === null && command !== '-P') refuse(text, `"${second}" is no rule number`);
  switch (command) {
    case '-P':
      bare();
      if (second !== 'ACCEPT' && second !== 'DROP') refuse(text, 'a policy is ACCEPT or DROP');
      return { op: 'policy', chain, policy: second };
    case '-N':
      bare();
      return { op: 'new-chain', chain };
    case '-A':
      if (at !== null) refuse(text, '-A takes no rule number');
      return { op: 'append', chain, rules: rulesOf(chain, spec, place) };
    case '-I':
      return { op: 'insert', chain, at: at ?? 1, rules: rulesOf(chain, spec, place) };
    case '-R':
      if (at === null) refuse(text, '-R needs a rule number');
      return { op: 'replace', chain, at, rules: rulesOf(chain, spec, place) };
    default:
      if (at === null) return { op: 'delete', chain, rules: rulesOf(chain, spec, place) };
      bare();
      return { op: 'delete-at', chain, at };
  }
}

const SELECTORS: Readonly<Record<string, string>> = {
  '-s': '-s',
  '--source': '-s',
  '--src': '-s',
  '-d': '-d',
  '--destination': '-d',
  '--dst': '-d',
  '-i': '-i',
  '--in-interface': '-i',
  '-o': '-o',
  '--out-interface': '-o',
  '-p': '-p',
  '--protocol': '-p',
  '--proto': '-p',
};
const ORDER = ['-s', '-d', '-i', '-o', '-p'];

interface Draft {
  readonly selectors: Map<string, { not: boolean; values: string[] }>;
  readonly matches: { name: string; options: string[] }[];
  fragment: string;
  target: { kind: string; name: string; options: string[] } | null;
}

/** Each gets a number of its own below zero (see Change). */
const MOST_RULES = 64;

/** The words behind the chain; several addresses in one -s or -d are several rules. */
function rulesOf(chain: string, spec: readonly string[], place: Place) {
  const draft = readSpec(spec, place);
  checkPlace(chain, draft, place);
  const addresses = (flag: string) => draft.selectors.get(flag)?.values ?? [''];
  if (addresses('-s').length * addresses('-d').length > MOST_RULES)
    refuse(place.text, `it makes more than ${MOST_RULES} rules`);
  return addresses('-s').flatMap((source) =>
    addresses('-d').map((destination) => {
      const line = printed(chain, draft, { '-s': source, '-d': destination });
      const rule = readRule(line, 0, undefined, undefined);
      if (rule.unplaced !== undefined) refuse(place.text, `"${rule.unplaced.join(' ')}" has no place in a rule`);
      return rule;
    }),
  );
}

function readSpec(spec: readonly string[], { text, family }: Place): Draft {
  const draft: Draft = { selectors: new Map(), matches: [], fragment: '', target: null };
  let i = 0;
  const value = (flag: string): string => {
    i += 1;
    const word = spec[i];
    if (word === undefined) refuse(text, `${flag} needs a value`);
    return word;
  };
  for (; i < spec.length; i += 1) {
    let word = spec[i] as string;
    const not = word === '!';
    if (not) word = value('!');
    const selector = SELECTORS[word];
    const sign = not ? '! ' : '';
    if (selector !== undefined) {
      const inside = spec[i + 1] === '!';
      if (inside) i += 1;
      const given = value(word);
      if (draft.selectors.has(selector)) refuse(text, `${word} stands twice`);
      draft.selectors.set(selector, { not: not || inside, values: selectorValues(selector, given, family, text) });
    } else if (word === '-f' || word === '--fragment') draft.fragment = ` ${sign}-f`;
    else if (word === '-m' || word === '--match') {
      const name = value(word) === 'icmp6' ? 'ipv6-icmp' : (spec[i] as string);
      if (MATCHES[name] === undefined)
        refuse(text, `match ${name} is none that what-if knows (${Object.keys(MATCHES).join(', ')})`);
      draft.matches.push({ name, options: [] });
    } else if (word === '-j' || word === '--jump' || word === '-g' || word === '--goto') {
      const name = value(word);
      if (draft.target !== null) refuse(text, 'it has two targets');
      draft.target = { kind: /^(-g|--goto)$/.test(word) ? '-g' : '-j', name, options: [] };
    } else {
      const { form, into } = homeOf(draft, word, text);
      const values = Array.from({ length: form.values }, () => {
        const given = value(word);
        const written = form.fix(given);
        if (written === null)
          refuse(text, `${word} does not take "${given}"${/port/.test(word) ? ' (give ports as numbers)' : ''}`);
        return writeValue(form.flag, written);
      });
      const flag = form.flag === '--syn' ? '--tcp-flags FIN,SYN,RST,ACK SYN' : form.flag;
      into.push([`${sign}${flag}`, ...values].join(' '));
    }
  }
  if (draft.target?.name === 'REJECT' && draft.target.options.length === 0)
    draft.target.options.push(`--reject-with icmp${family === 4 ? '' : '6'}-port-unreachable`);
  return draft;
}

/** Which match or target an option belongs to: the target, else the last match that has it, else the protocol's own. */
function homeOf(draft: Draft, flag: string, text: string): { form: OptionForm; into: string[] } {
  const { target } = draft;
  const ofTarget = target === null ? undefined : TARGETS[target.name]?.[flag];
  if (target !== null && ofTarget !== undefined) return { form: ofTarget, into: target.options };
  for (const match of [...draft.matches].reverse()) {
    const form = MATCHES[match.name]?.[flag];
    if (form !== undefined) return { form, into: match.options };
  }
  const selected = draft.selectors.get('-p');
  const proto = selected?.not === false ? (selected.values[0] ?? '') : '';
  const form = MATCHES[proto]?.[flag];
  if (form === undefined)
    refuse(
      text,
      /port/.test(flag) && proto === ''
        ? `${flag} needs -p tcp or -p udp in front of it`
        : `option ${flag} has no place here`,
    );
  const options: string[] = [];
  draft.matches.push({ name: proto, options });
  return { form, into: options };
}

function selectorValues(flag: string, given: string, family: 4 | 6, text: string): string[] {
  if (flag === '-p') {
    const name = protocol(given);
    if (name === null) refuse(text, `protocol ${given} is not known`);
    return [name];
  }
  if (flag === '-i' || flag === '-o') {
    if (!/^[^\s/!]{1,16}$/.test(given)) refuse(text, `"${given}" is no device name`);
    return [given === '+' ? '' : given];
  }
  return given.split(',').map((part) => {
    const written = prefix(part);
    if (written === null || written.includes(':') !== (family === 6))
      refuse(text, `"${part}" is no IPv${family} address or prefix`);
    return written === '0.0.0.0/0' || written === '::/0' ? '' : written;
  });
}

function printed(chain: string, draft: Draft, addresses: Readonly<Record<string, string>>): string {
  let line = `-A ${chain}`;
  for (const flag of ORDER) {
    const selector = draft.selectors.get(flag);
    const value = addresses[flag] ?? selector?.values[0] ?? '';
    if (selector !== undefined && value !== '') line += `${selector.not ? ' !' : ''} ${flag} ${value}`;
  }
  line += draft.fragment;
  for (const m of draft.matches)
    line += ` -m ${m.name === 'ipv6-icmp' ? 'icmp6' : m.name}${m.options.map((o) => ` ${o}`).join('')}`;
  if (draft.target !== null)
    line += ` ${draft.target.kind} ${draft.target.name}${draft.target.options.map((o) => ` ${o}`).join('')}`;
  return line;
}

const NAT: Readonly<Record<string, readonly string[]>> = {
  MASQUERADE: ['POSTROUTING'],
  SNAT: ['POSTROUTING', 'INPUT'],
  DNAT: ['PREROUTING', 'OUTPUT'],
  REDIRECT: ['PREROUTING', 'OUTPUT'],
  NETMAP: ['PREROUTING', 'OUTPUT', 'POSTROUTING', 'INPUT'],
};
const BUILT_IN = /^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/;

/** What iptables and the kernel refuse by the place of a rule. */
function checkPlace(chain: string, draft: Draft, { table, text }: Place): void {
  const built = BUILT_IN.test(chain);
  if (draft.selectors.has('-i') && /^(OUTPUT|POSTROUTING)$/.test(chain))
    refuse(text, `iptables refuses -i in ${chain}`);
  if (draft.selectors.has('-o') && /^(INPUT|PREROUTING)$/.test(chain)) refuse(text, `iptables refuses -o in ${chain}`);
  for (const [flag, { not, values }] of draft.selectors)
    if (not && (values.includes('') || values.length > 1))
      refuse(text, `! ${flag} needs one value that is not everything`);
  const name = draft.target?.name ?? '';
  const hooks = NAT[name];
  if (hooks !== undefined && (table !== 'nat' || (built && !hooks.includes(chain))))
    refuse(text, `${name} works only in the nat table, in ${hooks.join(' and ')}`);
  if (table === 'nat' && name === 'DROP') refuse(text, 'iptables refuses DROP in the nat table');
  if (name === 'REJECT' && table !== 'filter') refuse(text, 'REJECT works only in the filter table');
  if ((name === 'CT' || name === 'NOTRACK') && table !== 'raw')
    refuse(text, 'CT and NOTRACK work only in the raw table');
}
