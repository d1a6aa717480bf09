/**
 * Records fixtures/bundles/: builds each lab, injects its fault, runs the real collector in every node, and takes the machine's own
 * names out of the bundles. `node test/support/record.ts [NAME...]` (root, Linux). Sums are made anew, so the bundles are whole.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir, version } from 'node:os';
import { basename, join } from 'node:path';
import type { LabSpec } from './lab/index.ts';
import * as labs from './lab/index.ts';
import { DockerLab, Lab } from './lab/index.ts';

const out = join(import.meta.dirname, '../../fixtures/bundles');

type Recipe = { readonly spec?: LabSpec; readonly inject: (lab: Lab) => Promise<unknown>; readonly says: string };

async function demo(lab: Lab): Promise<void> {
  await labs.forwardDropsPodTraffic(lab, 'policy');
  await labs.egressMasqueradeMissing(lab);
}

const recipes: Readonly<Record<string, Recipe>> = {
  demo: {
    spec: { nodes: 3, services: [] },
    inject: demo,
    says: 'node-b: FORWARD policy DROP without flannel’s accepts; node-a: nat POSTROUTING flushed; node-c healthy',
  },
  'healthy-vxlan': { spec: { nodes: 3 }, inject: async () => {}, says: 'nothing wrong' },
  'healthy-host-gw': { spec: { nodes: 3, backend: 'host-gw' }, inject: async () => {}, says: 'nothing wrong' },
  'healthy-legacy': {
    spec: { nodes: 2, iptables: 'legacy', services: [] },
    inject: async () => {},
    says: 'nothing wrong, iptables-legacy',
  },
  'ip-forward-disabled': { inject: labs.ipForwardDisabled, says: 'node-a: net.ipv4.ip_forward=0' },
  'interface-forwarding-disabled': {
    inject: (l) => labs.interfaceForwardingDisabled(l),
    says: 'node-b: conf.flannel/1.forwarding=0',
  },
  'forward-drops-pod-traffic': {
    inject: (l) => labs.forwardDropsPodTraffic(l, 'reject-first'),
    says: 'node-b: REJECT in front of flannel’s chain',
  },
  'egress-masquerade-missing': { inject: labs.egressMasqueradeMissing, says: 'node-a: nat POSTROUTING flushed' },
  'subnet-overlaps-node-network': { inject: labs.subnetOverlapsNodeNetwork, says: 'node-a: docker0 over the LAN' },
  'pod-cidr-duplicate': {
    spec: labs.DUPLICATE_CIDR,
    inject: labs.podCidrDuplicate,
    says: 'node-b and node-c lease 10.244.2.0/24',
  },
  'bridge-address-not-in-lease': { inject: labs.bridgeAddressNotInLease, says: 'node-a: cni0 has 10.244.9.1/24' },
  'vxlan-parameters-disagree': { inject: (l) => labs.vxlanParametersDisagree(l, 'port'), says: 'node-b: dstport 4789' },
  'vxlan-forwarding-entry-wrong': {
    inject: (l) => labs.vxlanForwardingEntryWrong(l, 'stale-mac'),
    says: 'node-a: stale VTEP MAC of node-b',
  },
  'cgroup-driver-mismatch': {
    inject: (l) => labs.cgroupDriverMismatch(l, 'config'),
    says: 'node-a: kubelet systemd, containerd cgroupfs',
  },
  'bundle-incomplete': {
    inject: (l) => labs.bundleIncomplete(l),
    says: 'node-a: nft and iptables-legacy-save are not installed',
  },
};

const dockerRecipes: Readonly<
  Record<string, { readonly spec?: object; readonly inject: (d: DockerLab) => Promise<unknown>; readonly says: string }>
> = {
  'healthy-docker': {
    inject: (d) => d.container({ name: 'web', publish: ['9001:9000'] }),
    says: 'nothing wrong, dockerd 20.10 with a published port',
  },
  'docker-api-exposed': { inject: (d) => labs.dockerApiExposed(d), says: 'dockerd -H tcp://0.0.0.0:2375' },
  'daemon-json-unusable': {
    inject: (d) => labs.daemonJsonUnusable(d, 'trailing-comma', 'running'),
    says: 'a trailing comma, dockerd still runs',
  },
  'docker-rules-missing': {
    inject: (d) => labs.dockerRulesMissing(d, 'filter'),
    says: 'iptables -F behind a dockerd that runs, FORWARD’s policy is DROP',
  },
  'docker-user-ineffective': {
    spec: { daemonJson: { 'live-restore': true } },
    inject: (d) => labs.dockerUserIneffective(d),
    says: 'iptables -F FORWARD, dockerd restarted with live-restore: the jump to DOCKER-USER did not come back',
  },
  'container-networks-overlap': {
    spec: { cluster: { services: [] } },
    inject: (d) => labs.containerNetworksOverlap(d, 'service-network'),
    says: 'a docker network inside the service range',
  },
};

/** Rewrites a bundle without the machine's names: kernel build, boot line. Records and sums follow. */
function scrub(bundle: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'nc-scrub-'));
  try {
    execFileSync('tar', ['-C', dir, '-xzf', bundle]);
    const order = execFileSync('tar', ['-tzf', bundle], { encoding: 'utf8' })
      .split('\n')
      .filter((n) => n !== '' && !n.endsWith('/'));
    const rootDir = order[0]?.split('/')[0] ?? '';
    const manifestPath = join(dir, rootDir, 'manifest.json');
    let manifest = readFileSync(manifestPath, 'utf8');
    const generic = release().replace(/-.*$/, '-generic');
    const hash = (b: Buffer | string) => createHash('sha256').update(b).digest('hex');
    for (const name of order) {
      const path = name.slice(rootDir.length + 1);
      if (path === 'manifest.json' || path === 'SHA256SUMS') continue;
      const file = join(dir, name);
      const before = readFileSync(file);
      let text = before.toString('latin1').replaceAll(release(), generic).replaceAll(version(), '#1 SMP');
      if (path === 'host/sys/cmdline.txt') text = 'BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro quiet\n';
      const after = Buffer.from(text, 'latin1');
      if (after.equals(before)) continue;
      writeFileSync(file, after);
      manifest = manifest
        .split('\n')
        .map((line) =>
          line.includes(`"path":"${path}"`)
            ? line.replace(hash(before), hash(after)).replace(/"bytes":\d+/, `"bytes":${after.length}`)
            : line,
        )
        .join('\n');
    }
    writeFileSync(manifestPath, manifest);
    const sums = join(dir, rootDir, 'SHA256SUMS');
    const lines = readFileSync(sums, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => {
        const path = line.slice(66);
        return `${hash(readFileSync(join(dir, rootDir, path)))}  ${path}`;
      });
    writeFileSync(sums, `${lines.join('\n')}\n`);
    const list = join(dir, 'order');
    writeFileSync(list, `${order.join('\n')}\n`);
    execFileSync('sh', [
      '-c',
      'tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0600 -C "$1" -cf - -T "$2" | gzip -9n > "$3"',
      'sh',
      dir,
      list,
      bundle,
    ]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function record(name: string, lab: Lab, says: string): Promise<void> {
  const dir = join(out, name);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  for (const bundle of await lab.collectAll(dir, ['--quick'])) scrub(bundle);
  writeFileSync(
    join(dir, 'ORIGIN.md'),
    `# ${name}\n\n${says}.\n\nCollected by collectors/netcase-collect.sh --quick from lab nodes in network namespaces (test/support/record.ts), kernel build and boot line replaced.\n`,
  );
  console.log(name, readdirSync(dir).length - 1, 'bundles');
}

const only = process.argv.slice(2).map((a) => basename(a));
for (const [name, { spec, inject, says }] of Object.entries(recipes)) {
  if (only.length > 0 && !only.includes(name)) continue;
  const lab = await Lab.create(spec ?? {});
  try {
    await inject(lab);
    await record(name, lab, says);
  } finally {
    await lab.destroy();
  }
}
for (const [name, { spec, inject, says }] of Object.entries(dockerRecipes)) {
  if (only.length > 0 && !only.includes(name)) continue;
  const docker = await DockerLab.create(spec ?? {});
  try {
    await inject(docker);
    await record(name, docker.lab, says);
  } finally {
    await docker.lab.destroy();
  }
}
process.exit(0);
