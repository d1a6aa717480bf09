import { defineParser, type Parsed } from '../facts/parser.ts';
import type { JsonSettings, Settings } from '../facts/settings.ts';
import { flatten, readJsonTree, skippedErrors } from './json-tree.ts';

/** crictl info repeats containerd's whole configuration; more settings than this are nobody's node. */
const MAX_SETTINGS = 20_000;

/** A JSON file of settings, with what a strict reader objects to. Broken lines are in `errors`, not in `skipped`. */
export function readJsonSettings(text: string): Parsed<JsonSettings> {
  const tree = readJsonTree(text);
  if (typeof tree === 'string') return { ok: false, why: tree };
  const { settings, duplicateKeys, skipped } = flatten(tree, MAX_SETTINGS, text);
  const value = { settings, errors: tree.errors, duplicateKeys, bom: tree.bom, rootType: tree.root?.type ?? 'none' };
  return { ok: true, value, skipped };
}

/** The same for command output, where an error is a torn output. */
export function readJsonFacts(text: string): Parsed<Settings> {
  const tree = readJsonTree(text);
  if (typeof tree === 'string') return { ok: false, why: tree };
  if (tree.root === undefined || tree.root.type !== 'object') return { ok: false, why: 'no JSON object' };
  const { settings, skipped } = flatten(tree, MAX_SETTINGS);
  return { ok: true, value: { settings }, skipped: [...skippedErrors(tree), ...skipped] };
}

export const parsers = [
  defineParser({ fact: 'daemonJson', evidence: ['docker.daemon-json'], version: 2, parse: readJsonSettings }),
  defineParser({ fact: 'flannelNetConf', evidence: ['flannel.net-conf'], version: 2, parse: readJsonSettings }),
  defineParser({ fact: 'criInfo', evidence: ['cri.info'], version: 1, parse: readJsonFacts }),
];
