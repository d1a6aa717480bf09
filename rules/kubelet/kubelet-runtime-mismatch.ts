import { shellWord } from '../../src/core/shell.ts';
import { kubeletDriver } from '../../src/derive/cgroup.ts';
import { kubeletNode } from '../../src/derive/kubelet-node.ts';
import {
  criDisabled,
  daemonBehind,
  RUNTIME_KINDS,
  type RuntimeChoice,
  removedFlags,
  runtimeChoice,
  socketOf,
  startedWith,
} from '../../src/derive/kubelet-runtime.ts';
import type { Cite, Finding, NodeVerdict, Remediation } from '../../src/rule/index.ts';
import { cite, citeRecord, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** A kubelet that cannot start is started again every ten seconds: what it dies of is among its last lines. */
const LAST_LINES = 60;
const REFUSED = /unknown flag: --([\w-]+)/;
const CONTAINERD = '/etc/containerd/config.toml';
const VERIFY = 'systemctl is-active kubelet; crictl info | head -20';

export const rule = defineNodeRule({
  id: 'kubelet-runtime-mismatch',
  title: {
    bad: 'The kubelet cannot use its container runtime',
    good: 'The runtime that the kubelet is told to use runs, as far as was collected',
  },
  severity: 'critical',
  explanation:
    'A kubelet starts pods by the CRI of a runtime. From 1.24 on it has no dockershim any more, and ends over a flag that its release does not know. ' +
    'Docker’s package containerd.io comes with the CRI of containerd turned off. Pods that run go on, but the node is NotReady, and nothing new starts.',
  remediation: [
    {
      step: 'Look what the kubelet ends with, then mend the flag or the runtime that it names.',
      run: 'journalctl -u kubelet -n 20 --no-pager; crictl info | head -20',
      verify: VERIFY,
    },
  ],
  references: [REF.kubeRuntimes, REF.kubeDockershim, REF.kubeletFlags, REF.containerdCri],
  needs: [],
  needsAny: ['kubeletArgs', 'kubeletConfig', 'kubeadmFlags'],
  wants: [...RUNTIME_KINDS, 'k3sArgs', 'k8sNodes', 'journals', 'netnsIndex'],
  evaluate({ node, wants, source }) {
    const { kubeletArgs, criInfo } = wants;
    const installed = !wants.kubeletConfig.missing || !wants.kubeadmFlags.missing;
    const runs = !kubeletArgs.missing;
    if (!runs && !wants.k3sArgs.missing)
      return notApplicable('the kubelet is part of k3s, which brings its own containerd');
    if (!runs && !installed) return notApplicable('no kubelet on this node');
    if (kubeletArgs.missing && !kubeletArgs.lookedFor)
      return unknown(node.id, 'whether the kubelet runs, and with which flags, was not collected', ['kubelet.cmdline']);
    const severity = runs ? 'high' : 'critical';
    const down = runs ? [] : stopped();
    const choice = runtimeChoice(source);
    if (!runs) {
      const refused = refusedFlag();
      if (refused !== null) return refused;
    }
    if (choice === null)
      return unknown(node.id, 'which runtime the kubelet is told to use was not collected', [
        'kubelet.config',
        'kubelet.kubeadm-flags',
      ]);
    const socket = socketOf(choice.endpoint);
    if (/podman|\/docker\.sock$/.test(socket))
      return one(`no-cri ${socket}`, `is told to use ${socket}, which does not speak CRI`, [], {
        step: 'Docker needs cri-dockerd in between (unix:///run/cri-dockerd.sock); else use containerd or CRI-O. Set containerRuntimeEndpoint in the kubelet’s file, or --container-runtime-endpoint where its command line is made.',
        run: 'ls -l /run/containerd/containerd.sock /run/crio/crio.sock /run/cri-dockerd.sock',
        verify: VERIFY,
      });
    const daemon = daemonBehind(source, choice.endpoint);
    const answers = criAnswers(socket);
    const off = socket === '/run/containerd/containerd.sock' ? criDisabled(source) : null;
    if (off?.sure === true && answers === null) {
      const failed = node.evidence.find((r) => r.id === 'cri.info' && r.status === 'failed');
      if (failed === undefined && runs && hasPods())
        return unknown(
          node.id,
          `${CONTAINERD} turns the CRI of containerd off, which the kubelet is told to use, yet pods run: whether containerd was started since is not known`,
          ['cri.info'],
        );
      return one(
        'cri-disabled',
        `is told to use ${socket}, and ${CONTAINERD} turns the CRI of containerd off`,
        [cite(off.fact, off.span), ...(failed === undefined ? [] : [citeRecord(node.id, failed)])],
        enableCri(),
        failed !== undefined || !runs ? 'proven' : 'likely',
      );
    }
    if (answers !== null) return proven(answers);
    if (daemon === null)
      return unknown(node.id, `whether anybody serves ${socket}, which the kubelet is told to use, was not collected`, [
        'cri.info',
      ]);
    const { process, span, name } = daemon;
    if (process.missing && !process.lookedFor)
      return unknown(node.id, `whether ${name}, which the kubelet is told to use, runs was not collected`, [
        process.evidence[0],
      ]);
    if (process.missing || span === null) {
      const record = node.evidence.find((r) => r.id === (process.missing ? process.evidence[0] : process.evidence));
      return one(
        `no ${name}`,
        `is told to use ${name === 'dockerd' ? 'docker' : socket}, and ${name} does not run`,
        [
          ...(record === undefined ? [] : [citeRecord(node.id, record)]),
          ...(off === null ? [] : [cite(off.fact, off.span)]),
        ],
        startDaemon(name),
        choice.told === null ? 'likely' : 'proven',
      );
    }
    if (off !== null)
      return unknown(
        node.id,
        `line ${off.span.line} of ${CONTAINERD} names the CRI of containerd as other releases do: whether it is off depends on the release`,
        ['cri.info'],
      );
    if (!runs)
      return unknown(node.id, `the kubelet does not run, ${name} does: nothing that was collected tells why${hint()}`, [
        'log.journal',
      ]);
    return proven(cite(process, span));

    function proven(by: Cite): NodeVerdict {
      if (!runs)
        return unknown(
          node.id,
          `the kubelet does not run, though its runtime answers: nothing that was collected tells why${hint()}`,
          ['log.journal'],
        );
      return choice?.told == null ? pass(by) : pass(cite(choice.told.fact, choice.told.span), by);
    }

    /** What is seen wins over what a file says. */
    function criAnswers(socket: string): Cite | null {
      if (criInfo.missing) return null;
      const ready = criInfo.value.settings.find(
        (s) => s.path === 'config.containerdEndpoint' || s.path === 'status.conditions',
      );
      const at = criInfo.value.settings.find((s) => s.path === 'config.containerdEndpoint');
      const own = at === undefined ? !socket.includes('containerd') : socketOf(String(at.value)) === socket;
      if (ready === undefined || !own) return null;
      return cite(criInfo, ready);
    }

    /** The runtime pins the namespaces of its pods below /run, which is empty after a boot. */
    function hasPods(): boolean {
      const { netnsIndex } = wants;
      return !netnsIndex.missing && netnsIndex.value.namespaces.some((n) => n.pin?.includes('/netns/cni-') === true);
    }

    function stopped(): readonly Cite[] {
      const record = node.evidence.find((r) => r.id === 'kubelet.cmdline');
      return record === undefined ? [] : [citeRecord(node.id, record)];
    }

    /** The kubelet’s own last words; else the release that it last reported. */
    function refusedFlag(): NodeVerdict | null {
      const journal = source.at?.('journals', 'kubelet');
      const said = journal?.value.lines.slice(-LAST_LINES).findLast((l) => REFUSED.test(l.text));
      const name = REFUSED.exec(said?.text ?? '')?.[1];
      if (journal !== undefined && said !== undefined && name !== undefined) {
        const place = startedWith(source, name);
        return one(
          `flag ${name}`,
          `ends over the flag --${name}, which its release does not know`,
          [cite(journal, said), ...(place === null ? [] : [cite(place.fact, place.span)])],
          withoutFlag(name, place?.file),
        );
      }
      const api = kubeletNode(source, node.hostname);
      const bad = removedFlags(source).find((f) => api !== null && api.minor >= f.since);
      if (bad === undefined || api === null) return null;
      return one(
        `flag ${bad.name}`,
        `does not run, and is started with --${bad.name}, which kubelets from 1.${bad.since} on refuse`,
        [cite(bad.fact, bad.span), cite(api.fact, api.span)],
        withoutFlag(bad.name, bad.file),
        'likely',
      );
    }

    function hint(): string {
      const [first] = removedFlags(source);
      return first === undefined
        ? ''
        : `; a kubelet from 1.${first.since} on would refuse --${first.name}, and its release is not known`;
    }

    function one(
      key: string,
      what: string,
      cites: readonly Cite[],
      remedy: Remediation,
      confidence: Finding['confidence'] = 'proven',
    ): NodeVerdict {
      const told = runtimeOf(choice);
      const [first, ...more] = [...(key.startsWith('flag ') ? [] : told), ...cites, ...down];
      if (first === undefined)
        return unknown(node.id, `the kubelet of ${node.id} ${what}, but no line of it was collected`, [
          'kubelet.cmdline',
        ]);
      return findings([
        {
          key,
          severity,
          confidence,
          nodes: [node.id],
          message: `The kubelet of ${node.id} ${what}${runs || key.startsWith('flag ') ? '' : '; it does not run'}`,
          cites: [first, ...more],
          disprove: 'the kubelet or its runtime was being upgraded while it was collected',
          remediation: [remedy],
        },
      ]);
    }

    /** With the cgroup driver that the kubelet has. */
    function enableCri(): Remediation {
      const driver = kubeletDriver(source);
      const systemd = 'because' in driver || driver.driver === 'systemd';
      const edit = systemd ? ` | sed 's/SystemdCgroup = false/SystemdCgroup = true/'` : '';
      return {
        step: `Have containerd write its default configuration, whose CRI is on${systemd ? ', with systemd as cgroup driver' : ''}. What the old file had besides (registries, proxies of images) must be put back: it is kept.`,
        run: `f=${CONTAINERD}; cp -a $f $f.before && containerd config default${edit} >$f && systemctl restart containerd && systemctl restart kubelet`,
        verify: `grep -n disabled_plugins ${CONTAINERD}; ${VERIFY}`,
        undo: `f=${CONTAINERD}; mv $f.before $f && systemctl restart containerd && systemctl restart kubelet`,
        risk: 'none known: containers go on while containerd and the kubelet restart',
      };
    }
  },
});

const runtimeOf = (choice: RuntimeChoice | null): readonly Cite[] =>
  choice?.told == null ? [] : [cite(choice.told.fact, choice.told.span)];

function startDaemon(name: string): Remediation {
  const unit = name === 'dockerd' ? 'docker' : name;
  return {
    step: `Start ${name}, and see in its log why it ended. Where another runtime is meant, change containerRuntimeEndpoint (or --container-runtime-endpoint) of the kubelet.`,
    run: `systemctl start ${unit}; journalctl -u ${unit} -n 30 --no-pager`,
    verify: VERIFY,
    undo: `systemctl stop ${unit}`,
    risk: 'none known',
  };
}

/** Takes the flag out of the line that has it. */
function withoutFlag(name: string, file: string | undefined): Remediation {
  const dockershim = name === 'container-runtime' || name === 'network-plugin';
  const more = dockershim
    ? ' A kubelet that used docker needs --container-runtime-endpoint then (cri-dockerd or containerd).'
    : '';
  if (file === undefined || !file.startsWith('/'))
    return {
      step: `Take --${name} out of what starts the kubelet.${more}`,
      run: `grep -rn -e --${name} /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet /etc/sysconfig/kubelet /etc/systemd/system/kubelet.service* /usr/lib/systemd/system/kubelet.service*`,
      verify: VERIFY,
    };
  const f = shellWord(file);
  return {
    step: `Take --${name} out of ${file}, and restart the kubelet.${more}`,
    run: `f=${f}; cp -a "$f" "$f.before" && sed -i -E 's/ *--${name}(=[^ "]*| +[^- "][^ "]*)?([ "]|$)/\\2/' "$f" && systemctl daemon-reload && systemctl restart kubelet`,
    verify: VERIFY,
    undo: `f=${f}; mv "$f.before" "$f" && systemctl daemon-reload && systemctl restart kubelet`,
    risk: 'none known: containers go on while the kubelet restarts',
  };
}
