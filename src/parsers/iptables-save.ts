import { defineParser } from '../facts/parser.ts';
import { readRuleset } from './iptables-index.ts';

/** iptables-save of both backends, with and without counters. The backend is the header's; without a header the evidence kind says it. */
export const parsers = [
  defineParser({
    fact: 'iptables',
    evidence: ['fw.iptables-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'unknown'),
  }),
  defineParser({
    fact: 'iptablesNft',
    evidence: ['fw.iptables-nft-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'nft'),
  }),
  defineParser({
    fact: 'iptablesLegacy',
    evidence: ['fw.iptables-legacy-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'legacy'),
  }),
  defineParser({
    fact: 'ip6tables',
    evidence: ['fw.ip6tables-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'unknown'),
  }),
  defineParser({
    fact: 'ip6tablesNft',
    evidence: ['fw.ip6tables-nft-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'nft'),
  }),
  defineParser({
    fact: 'ip6tablesLegacy',
    evidence: ['fw.ip6tables-legacy-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'legacy'),
  }),
  defineParser({
    fact: 'netnsIptablesNft',
    evidence: ['netns.iptables-nft-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'nft'),
  }),
  defineParser({
    fact: 'netnsIptablesLegacy',
    evidence: ['netns.iptables-legacy-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'legacy'),
  }),
  defineParser({
    fact: 'netnsIp6tablesNft',
    evidence: ['netns.ip6tables-nft-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'nft'),
  }),
  defineParser({
    fact: 'netnsIp6tablesLegacy',
    evidence: ['netns.ip6tables-legacy-save'],
    version: 2,
    parse: (text) => readRuleset(text, 'legacy'),
  }),
];
