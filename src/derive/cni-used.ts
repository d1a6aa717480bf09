import type { Fact, MissingFact } from '../facts/index.ts';
import type { CniPlugin } from './cni.ts';
import { type CniFile, type CniFiles, confProblem, presence } from './cni-files.ts';
import { BIN_DIR, type CniRuntimeAnswer, CONF_DIR } from './cni-runtime.ts';

export interface UsedConf {
  readonly kind: 'used';
  readonly file: CniFile;
  readonly fact: Fact<'cniConf'>;
}

type Node = Parameters<typeof confProblem>[0];

/**
 * The file that gives pods their first interface. `unusable`: containerd stops at it; `unknown`: why that is not known, and what would tell.
 */
export function usedConf(
  node: Node,
  runtime: CniRuntimeAnswer,
  { files, whole }: CniFiles,
  bin: Fact<'cniBin'> | MissingFact<'cniBin'>,
):
  | UsedConf
  | { readonly kind: 'none' | 'unusable' | 'unknown'; readonly because: string; readonly evidence: readonly string[] } {
  if (runtime.kind !== 'known')
    return { kind: 'unknown', because: runtime.because, evidence: runtime.kind === 'unknown' ? runtime.evidence : [] };
  if (runtime.confDir !== CONF_DIR)
    return {
      kind: 'unknown',
      because: `${runtime.name} reads its CNI configuration from ${runtime.confDir}, which was not collected`,
      evidence: ['cri.info'],
    };
  if (!whole)
    return {
      kind: 'unknown',
      because: `which files ${CONF_DIR} holds was not collected whole`,
      evidence: ['cni.conf'],
    };
  for (const file of files) {
    const problem = confProblem(node, file);
    if (problem === 'unread' || file.fact === undefined)
      return { kind: 'unknown', because: `${CONF_DIR}/${file.name} was not collected whole`, evidence: ['cni.conf'] };
    if (problem === null && !(runtime.passesOver && runtime.binDirs?.join() === BIN_DIR && lacks(node, file.fact, bin)))
      return { kind: 'used', file, fact: file.fact };
    if (!runtime.passesOver)
      return {
        kind: 'unusable',
        because: `${runtime.name} cannot use ${file.name}: cni-not-ready tells why`,
        evidence: [],
      };
  }
  return { kind: 'none', because: `${CONF_DIR} holds no configuration that the runtime can use`, evidence: [] };
}

/** What passes over files asks each plugin for its version before it takes one. */
const lacks = (node: Node, { value }: Fact<'cniConf'>, bin: Fact<'cniBin'> | MissingFact<'cniBin'>): boolean =>
  value.plugins.some(({ type }) => ['gone', 'unusable'].includes(presence(node, bin, type).kind));

export const flannelPlugin = (fact: Fact<'cniConf'>): CniPlugin | undefined =>
  fact.value.plugins.find((p) => p.type === 'flannel');
