import type { IptOption, IptRule, Negatable, Ruleset } from '../facts/firewall.ts';
import { writeValue } from './iptables-tokens.ts';

const not = (negated: boolean) => (negated ? ' !' : '');

function printOption(option: IptOption): string {
  const values = option.written ?? option.values.map((value) => writeValue(option.flag, value));
  return `${not(option.negated)} ${option.flag}${values.map((value) => ` ${value}`).join('')}`;
}

function printSelector(flag: string, value: Negatable<string> | undefined): string {
  return value === undefined ? '' : `${not(value.negated)} ${flag} ${value.value}`;
}

/** The rule as iptables-save writes it, from its parts (not from its text); `unplaced` tokens stand last. */
export function printRule(rule: IptRule): string {
  let out = `-A ${rule.chain}`;
  out += printSelector('-s', rule.source);
  out += printSelector('-d', rule.destination);
  out += printSelector('-i', rule.inDevice);
  out += printSelector('-o', rule.outDevice);
  out += printSelector('-p', rule.protocol);
  if (rule.fragment !== undefined) out += `${not(rule.fragment.negated)} -f`;
  for (const match of rule.matches) out += ` -m ${match.name}${match.options.map(printOption).join('')}`;
  if (rule.target !== undefined) {
    out += ` ${rule.target.kind === 'goto' ? '-g' : '-j'} ${rule.target.name}${rule.target.options.map(printOption).join('')}`;
  }
  for (const token of rule.unplaced ?? []) out += ` ${token}`;
  return out;
}

const counters = (packets: number | undefined, bytes: number | undefined) =>
  packets === undefined || bytes === undefined ? '' : `[${packets}:${bytes}]`;

/** The ruleset as iptables-save prints it, without its comment lines; counters of rules are printed where they were read. */
export function printRuleset(ruleset: Ruleset): string {
  const lines: string[] = [];
  for (const table of ruleset.tables.values()) {
    lines.push(`*${table.name}`);
    const chains = [...table.chains.values()];
    for (const chain of chains) {
      lines.push(`:${chain.name} ${chain.policy ?? '-'} ${counters(chain.packets, chain.bytes)}`.trimEnd());
    }
    for (const chain of chains) {
      for (const rule of chain.rules())
        lines.push(`${counters(rule.packets, rule.bytes)} ${printRule(rule)}`.trimStart());
    }
    if (table.commitLine !== null) lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
