import { isNonEmpty } from '../../src/core/span.ts';
import type { Fault } from '../../src/derive/daemon-json.ts';
import { daemonJsonFaults, dockerMajor } from '../../src/derive/daemon-json.ts';
import { openVariables } from '../../src/derive/daemon-json-flags.ts';
import { openCluster } from '../../src/derive/daemon-json-together.ts';
import type { Cite, Undecided } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'daemon-json-unusable',
  title: { bad: 'dockerd cannot start with this daemon.json', good: 'dockerd accepts daemon.json' },
  severity: 'critical',
  explanation:
    'dockerd validates the whole file and refuses unknown, mistyped or doubled settings. A daemon that runs well now does not prove the file is good: it was read at the last start.',
  remediation: [
    {
      step: 'Correct the line and let dockerd check the file before a restart (dockerd 23 and later).',
      run: 'dockerd --validate --config-file /etc/docker/daemon.json',
      verify: 'prints "configuration OK"; then systemctl restart docker',
      undo: 'cp /etc/docker/daemon.json.bak /etc/docker/daemon.json   # after: cp -a /etc/docker/daemon.json /etc/docker/daemon.json.bak',
    },
    {
      step: 'For hosts set twice, drop -H from the unit.',
      run: "mkdir -p /etc/systemd/system/docker.service.d && printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/dockerd --containerd=/run/containerd/containerd.sock\\n' > /etc/systemd/system/docker.service.d/hosts.conf && systemctl daemon-reload",
      verify: 'systemctl cat docker | grep ExecStart',
      undo: 'rm /etc/systemd/system/docker.service.d/hosts.conf && systemctl daemon-reload',
    },
  ],
  references: [REF.dockerd, REF.dockerTroubleshoot],
  needs: [],
  needsAny: ['daemonJson'],
  wants: ['daemonJson', 'dockerVersion', 'dockerInfo', 'dockerdArgs', 'dockerUnit', 'dockerDefault'],
  evaluate({ node, wants, source }) {
    const { daemonJson, dockerdArgs, dockerUnit } = wants;
    if (daemonJson.missing) return notApplicable(`no daemon.json (${daemonJson.because})`);
    const version = dockerMajor(source);
    const faults: Fault[] = daemonJsonFaults(source, version?.major ?? null);
    const running = !dockerdArgs.missing;
    const gaps: Undecided[] = [];
    if (version === null) {
      gaps.push({
        nodes: [node.id],
        because: 'the Docker version is not known: settings that need a minimum version were not checked',
        evidence: ['docker.version'],
      });
    }
    if (dockerdArgs.missing && dockerUnit.missing) {
      gaps.push({
        nodes: [node.id],
        because: 'neither the unit nor the arguments of dockerd were collected: settings given twice were not checked',
        evidence: ['docker.unit', 'docker.cmdline'],
      });
    }
    const variables = openVariables(source);
    if (variables !== null)
      gaps.push({
        nodes: [node.id],
        because: `what ${variables} of docker’s unit stands for was not collected: settings given twice were not all checked`,
        evidence: ['docker.cmdline', 'docker.sysconfig', 'docker.default'],
      });
    const store = openCluster(source, daemonJson.value, version?.major ?? null);
    if (store !== null) gaps.push({ nodes: [node.id], because: store, evidence: ['log.docker'] });
    const list = faults.map((fault) => {
      const cites: Cite[] = fault.at.map(({ fact, span }) => cite(fact, span));
      const [first, ...rest] = cites;
      return {
        key: fault.key,
        severity: fault.severity ?? (running ? ('high' as const) : ('critical' as const)),
        confidence: fault.sure ? ('proven' as const) : ('likely' as const),
        nodes: [node.id] as const,
        message: `dockerd ${running ? 'runs on an older copy and cannot start again' : 'cannot start'} with the daemon.json of ${node.id}: ${fault.reason}`,
        cites: [first ?? cite(daemonJson, { line: 1 }), ...rest] as const,
        disprove: '"dockerd --validate" that accepts this file',
      };
    });
    if (isNonEmpty(list)) return findings(list, gaps);
    if (isNonEmpty(gaps)) return { kind: 'unknown', unknown: gaps };
    if (!isClosed(daemonJson)) return unknown(node.id, 'daemon.json was not collected whole', ['docker.daemon-json']);
    return pass(absent(daemonJson, 'a setting that dockerd refuses'));
  },
});
