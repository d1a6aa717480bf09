import { isNonEmpty } from '../../src/core/span.ts';
import {
  type CniFile,
  type ConfProblem,
  cniFiles,
  confProblem,
  type Needed,
  neededBy,
  notItsFiles,
  type Presence,
  presence,
} from '../../src/derive/cni-files.ts';
import { networkReady } from '../../src/derive/cni-ready.ts';
import { installPlugins, loadConfAgain, putAway, writeConfAgain } from '../../src/derive/cni-remedy.ts';
import { BIN_DIR, CNI_RUNTIME_KINDS, CONF_DIR, cniEndpoint, cniRuntime } from '../../src/derive/cni-runtime.ts';
import type { Fact } from '../../src/facts/index.ts';
import type { Cite, Finding, Undecided } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  citeRecord,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'cni-not-ready',
  title: {
    bad: 'The container runtime cannot give pods a network: CNI configuration or plugins are missing',
    good: 'The CNI configuration that the runtime uses is whole, and its plugins are installed',
  },
  severity: 'critical',
  explanation:
    'The runtime reads the first configuration by name in its directory and calls the programs that it names for every pod. Without one the kubelet reports the node as NotReady ' +
    '(“cni plugin not initialized”); with a program missing the node is Ready and each new pod hangs in ContainerCreating (“failed to find plugin … in path”). Pods that run already are not touched.',
  remediation: [
    {
      step: `Make ${CONF_DIR} hold a valid configuration (flannel’s pod writes 10-flannel.conflist when it starts), and ${BIN_DIR} the programs that it names (package kubernetes-cni; flannel’s comes with its pod).`,
      run: `ls -l ${CONF_DIR} ${BIN_DIR}`,
      verify: 'crictl info | grep -A3 NetworkReady',
      undo: 'nothing was changed: the command only shows what lies there',
    },
  ],
  references: [REF.cniSpec, REF.kubeNetworkPlugins, REF.flannelCni],
  needs: [],
  needsAny: ['kubeletArgs', 'k3sArgs'],
  wants: [...CNI_RUNTIME_KINDS, 'cniConf', 'cniBin'],
  evaluate({ node, wants, source }) {
    const elsewhere = notItsFiles(node);
    if (elsewhere !== null) return unknown(node.id, elsewhere, ['cni.conf']);
    const runtime = cniRuntime(source, node.hostname);
    if (runtime.kind === 'none')
      return notApplicable(
        runtime.because,
        runtime.told === undefined ? [] : [cite(runtime.told.fact, runtime.told.span)],
      );
    const ready = networkReady(source, cniEndpoint(source, node.hostname));
    const says = ready === null ? [] : [cite(ready.fact, ready.load ?? ready.span)];
    const open: Undecided[] = [];
    const ask = (because: string, ...evidence: string[]) => open.push({ nodes: [node.id], because, evidence });
    const proofs: Cite[] = ready?.ready === true ? says : [];
    const found: Finding[] = [];
    if (runtime.kind === 'unknown') ask(runtime.because, ...runtime.evidence);
    else {
      const loaded = configuration(runtime.confDir);
      if (loaded !== null) plugins(loaded);
    }
    if (ready?.ready === false && found.length === 0) found.push(unready(ready.message));
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    if (isNonEmpty(proofs)) return { kind: 'pass', cites: proofs };
    return unknown(node.id, 'no line of the CNI configuration was found that proves it', ['cni.conf']);

    /** The files that the runtime uses; null: that is not known, or there is none. */
    function configuration(dir: string): readonly CniFile[] | null {
      if (runtime.kind !== 'known') return null;
      if (dir !== CONF_DIR) {
        ask(`${runtime.name} reads its CNI configuration from ${dir}, which was not collected`, 'cri.info');
        return null;
      }
      const { files, others, none, whole } = cniFiles(node, source);
      const [first] = files;
      if (first === undefined) {
        const record = others[0] ?? none;
        if (!whole || record === undefined) ask(`which files ${CONF_DIR} holds was not collected`, 'cni.conf');
        else if (ready?.ready === true)
          ask(`${CONF_DIR} holds no configuration, but the runtime says that its network is ready`, 'cni.conf');
        else if (runtime.name === 'CRI-O' && ready === null)
          ask(
            `${CONF_DIR} holds no configuration, but CRI-O may be told of another directory: its crio.conf was not collected`,
            'cri.info',
          );
        else
          found.push(
            nothing(
              others.map((r) => r.instance ?? ''),
              citeRecord(node.id, record),
            ),
          );
        return null;
      }
      const used = runtime.passesOver || runtime.files <= 0 ? files : files.slice(0, runtime.files);
      const usable: CniFile[] = [];
      let fault: { readonly file: CniFile; readonly problem: ConfProblem } | null = null;
      for (const file of used) {
        const problem = confProblem(node, file);
        if (problem === 'unread') {
          ask(`${CONF_DIR}/${file.name}, which decides, is not known as it lies on the node`, 'cni.conf');
          return null;
        }
        if (problem === null) usable.push(file);
        else fault ??= { file, problem };
      }
      if (fault === null || (runtime.passesOver && usable.length > 0)) {
        if (whole) return usable;
        ask(
          `whether another file than ${first.name} comes first in ${CONF_DIR} is not known: only some were handed in`,
          'cni.conf',
        );
        return null;
      }
      if (ready?.ready === true)
        ask(`${fault.file.name} ${fault.problem.what}, but the runtime says that its network is ready`, 'cni.conf');
      else found.push(broken(fault.file, fault.problem, files.length > 1));
      return null;
    }

    function plugins(files: readonly CniFile[]): void {
      if (runtime.kind !== 'known') return;
      const can = (fact: Fact<'cniConf'>) =>
        fact.value.plugins.every((p) => !isLost(presence(node, wants.cniBin, p.type)));
      const read = files.flatMap((f) => f.fact ?? []);
      // what passes over files calls the plugins of each, though not what those call in turn, before it takes one
      const facts = runtime.passesOver ? [read.find(can) ?? read[0]].filter((f) => f !== undefined) : read;
      const { name, binDirs, loopback } = runtime;
      if (binDirs === null || !binDirs.includes(BIN_DIR)) {
        const where = binDirs === null ? 'a directory that its configuration names' : binDirs.join(', ');
        ask(
          `whether the plugins are installed: ${name} looks for them in ${where}, which was not collected`,
          'cri.info',
        );
        return;
      }
      const bin = wants.cniBin;
      const all = neededBy(facts, loopback).map((needed) => ({ needed, at: presence(node, bin, needed.program) }));
      const lost = all.filter(({ at }) => isLost(at));
      const hidden = all.find(({ at }) => at.kind === 'unknown');
      if (lost.length > 0 && binDirs.length > 1)
        ask(
          `whether ${names(lost)} is installed: ${name} also looks in ${binDirs.filter((d) => d !== BIN_DIR).join(', ')}, which was not collected`,
          'cri.info',
        );
      else if (lost.length > 0 && !runtime.named && !all.some(({ at }) => at.kind === 'there'))
        ask(
          `whether the plugins are installed: none of them is in ${BIN_DIR}, and ${name} may have another directory built in`,
          'cri.info',
        );
      else if (isNonEmpty(lost)) found.push(uninstalled(lost));
      if (hidden?.at.kind === 'unknown')
        ask(`whether ${hidden.needed.program} can be called: ${hidden.at.because}`, 'cni.bin');
      for (const fact of facts) for (const plugin of fact.value.plugins.slice(0, 1)) proofs.push(cite(fact, plugin));
      if (!bin.missing) for (const { at } of all.slice(0, 4)) if (at.kind === 'there') proofs.push(cite(bin, at.entry));
    }

    function nothing(others: readonly string[], at: Cite): Finding {
      const left =
        others.length === 0
          ? ''
          : ` (${others.slice(0, 3).join(', ')} ${others.length === 1 ? 'is' : 'are'} not read: only .conf, .conflist and .json are)`;
      return {
        key: 'no configuration',
        severity: 'critical',
        confidence: ready === null ? 'likely' : 'proven',
        nodes: [node.id],
        message: `${CONF_DIR} on ${node.id} holds no CNI configuration${left}: no pod can start there, and the node is NotReady`,
        cites: [at, ...says],
        disprove:
          'a configuration that was written after the collection: the network plugin may just have been starting',
        remediation: [
          writeConfAgain(
            node.id,
            wants.k3sArgs,
            'Look why no network plugin wrote its file: is its pod scheduled to the node, and what does its init container say?',
          ),
        ],
      };
    }

    function broken({ name, fact }: CniFile, { what, span, sure }: ConfProblem, more: boolean): Finding {
      const where = fact === undefined ? [] : [cite(fact, span)];
      const lines: Cite[] = [...where, ...says];
      const effect =
        more && !(runtime.kind === 'known' && runtime.passesOver) ? ', and the files behind it are not tried' : '';
      return {
        key: `broken ${name}`,
        severity: 'critical',
        confidence: ready !== null ? 'proven' : sure ? 'likely' : 'possible',
        nodes: [node.id],
        message: `${CONF_DIR}/${name} on ${node.id} ${what}${effect}: no pod can start there`,
        cites: isNonEmpty(lines)
          ? lines
          : [
              {
                kind: 'absent',
                node: node.id,
                evidence: 'cni.conf',
                path: `files${CONF_DIR}/${name}`,
                absent: 'a CNI configuration',
              },
            ],
        disprove: sure
          ? 'a file that was being written at the time'
          : `files of plugins in ${CONF_DIR}/<name of the network>, which runtimes with libcni 1.3 or newer read`,
        remediation:
          /flannel/.test(name) || !more
            ? [writeConfAgain(node.id, wants.k3sArgs, `Mend ${CONF_DIR}/${name}.`)]
            : [
                putAway(
                  name,
                  `Mend ${CONF_DIR}/${name}, or take it out of the way: the runtime then uses the next file by name.`,
                ),
              ],
      };
    }

    function uninstalled(lost: readonly { readonly needed: Needed; readonly at: Presence }[]): Finding {
      const bin = wants.cniBin;
      const cites: Cite[] = [];
      for (const { needed, at } of lost.slice(0, 4)) {
        if (needed.by !== null) cites.push(cite(needed.by.fact, needed.by.plugin));
        if (at.kind === 'unusable' && !bin.missing) cites.push(cite(bin, at.entry));
        else if (!bin.missing && isClosed(bin)) cites.push(absent(bin, `a file ${needed.program}`));
        else {
          const record = node.evidence.find((r) => r.id === 'cni.bin');
          if (record !== undefined) cites.push(citeRecord(node.id, record));
        }
      }
      const said = lost.map(({ needed, at }) => {
        const whom =
          needed.by === null
            ? 'for every pod'
            : needed.by.plugin.type === needed.program
              ? 'by the configuration'
              : `by ${needed.by.plugin.type}`;
        return `${needed.program} (called ${whom}) ${at.kind === 'unusable' ? at.what : 'is missing'}`;
      });
      const inner = lost.every(({ needed }) => needed.by === null);
      return {
        key: 'plugins missing',
        severity: 'critical',
        confidence: runtime.kind === 'known' && runtime.named ? 'proven' : 'likely',
        nodes: [node.id],
        message: `${BIN_DIR} on ${node.id} lacks CNI plugins: ${said.join(', ')}; new pods there do not start`,
        cites: isNonEmpty(cites)
          ? cites
          : [{ kind: 'absent', node: node.id, evidence: 'cni.bin', path: 'cni/bin.txt', absent: names(lost) }],
        disprove: inner ? 'a runtime that sets lo up itself' : 'a runtime that looks for plugins in another directory',
        remediation: [installPlugins(lost, node.id, wants.k3sArgs)],
      };
    }

    function unready(message: string): Finding {
      const lines: Cite[] =
        ready === null
          ? []
          : [cite(ready.fact, ready.span), ...(ready.load === null ? [] : [cite(ready.fact, ready.load)])];
      const known = runtime.kind === 'known';
      return {
        key: 'not ready',
        severity: 'critical',
        confidence: 'proven',
        nodes: [node.id],
        message: `The container runtime of ${node.id} says that its network is not ready${message === '' ? '' : `: ${message}`}; no pod can start there`,
        cites: isNonEmpty(lines)
          ? lines
          : [
              {
                kind: 'absent',
                node: node.id,
                evidence: 'cri.info',
                path: 'cri/info.json',
                absent: 'a network that is ready',
              },
            ],
        disprove: 'a network plugin that was just starting',
        ...(known && open.length === 0
          ? { remediation: [loadConfAgain(runtime.name === 'CRI-O' ? 'crio' : 'containerd')] }
          : {}),
      };
    }
  },
});

const isLost = ({ kind }: Presence) => kind === 'gone' || kind === 'unusable';
const names = (lost: readonly { readonly needed: Needed }[]) => lost.map(({ needed }) => needed.program).join(', ');
