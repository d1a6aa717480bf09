// Quiet journals: what kubelet, containerd, dockerd and flanneld write on a day without trouble.
import { random, uuid } from './random.mjs';

const LINES = {
  kubelet: [
    (r, p) =>
      `I1122 ${clock(r)}    1201 kubelet.go:2412] "SyncLoop (PLEG): event for pod" pod="${p.namespace}/${p.name}" event={"ID":"${p.uid}","Type":"ContainerStarted","Data":"${r.hex(64)}"}`,
    (r, p) =>
      `I1122 ${clock(r)}    1201 prober.go:107] "Probe succeeded" probeType="Readiness" pod="${p.namespace}/${p.name}" podUID="${p.uid}" containerName="main" latency="${r.between(1, 40)}ms"`,
    (r, p) =>
      `I1122 ${clock(r)}    1201 operation_generator.go:721] "MountVolume.SetUp succeeded for volume \\"kube-api-access-${r.hex(5)}\\" (UniqueName: \\"kubernetes.io/projected/${p.uid}-kube-api-access\\") pod \\"${p.name}\\"" `,
    (r, p) =>
      `I1122 ${clock(r)}    1201 status_manager.go:875] "Patch status for pod" pod="${p.namespace}/${p.name}" podUID="${p.uid}" patchLength=${r.between(120, 900)}`,
    (r) =>
      `I1122 ${clock(r)}    1201 image_gc_manager.go:310] "Disk usage on image filesystem is below the high threshold" usage=${r.between(31, 60)} highThreshold=85`,
  ],
  docker: [
    (r) =>
      `time="2026-11-22T${clock(r)}Z" level=info msg="ignoring event" container=${r.hex(64)} module=libcontainerd namespace=moby topic=/tasks/delete type="*events.TaskDelete"`,
    (r) =>
      `time="2026-11-22T${clock(r)}Z" level=info msg="Container ${r.hex(64)} started" pid=${r.between(2000, 60000)}`,
  ],
  containerd: [
    (r) => `time="2026-11-22T${clock(r)}Z" level=info msg="shim disconnected" id=${r.hex(64)} namespace=moby`,
    (r) => `time="2026-11-22T${clock(r)}Z" level=info msg="cleaning up dead shim" namespace=moby`,
    (r) =>
      `time="2026-11-22T${clock(r)}Z" level=info msg="loading plugin \\"io.containerd.event.v1.publisher\\"..." runtime=io.containerd.runc.v2 type=io.containerd.event.v1`,
  ],
  flanneld: [
    (r) => `I1122 ${clock(r)}       1 vxlan_network.go:65] watching for new subnet leases`,
    (r) => `I1122 ${clock(r)}       1 iptables.go:125] Setting up masking rules`,
    (r) => `I1122 ${clock(r)}       1 iptables.go:372] bootstrap done, generation ${r.between(1, 90000)}`,
  ],
};
const SHARES = { kubelet: 0.62, docker: 0.14, containerd: 0.16, flanneld: 0.08 };
const clock = (r) =>
  `${String(r.below(24)).padStart(2, '0')}:${String(r.below(60)).padStart(2, '0')}:${String(r.below(60)).padStart(2, '0')}.${String(r.below(1_000_000)).padStart(6, '0')}`;

/** Texts of the units' journals, `logmb` MB together; each at most the collector's cap of 4 MiB. */
export function journalTexts(node) {
  const files = {};
  for (const [unit, share] of Object.entries(SHARES)) {
    const size = Math.min(4_000_000, Math.round(node.options.logmb * 1_000_000 * share));
    files[`log/journal-${unit}.txt`] = journal(node, unit, size);
  }
  files['host/log/dmesg.txt'] = dmesg(node);
  return files;
}

function journal(node, unit, size) {
  const r = random(node.cluster.seed, node.index, 'journal', unit);
  const pods =
    node.pods.length > 0 ? node.pods : [{ namespace: 'kube-system', name: 'kube-proxy-x2kfd', uid: uuid(node.name) }];
  const pid = unit === 'kubelet' ? 1201 : 600 + r.below(900);
  const daemon = unit === 'docker' ? 'dockerd' : unit;
  const lines = [];
  let length = 0;
  for (let second = node.t0 - 86_400; length < size; second += r.below(3)) {
    const stamp = `${new Date(second * 1000).toISOString().slice(0, 19)}+0000`;
    const line = `${stamp} ${node.name} ${daemon}[${pid}]: ${r.pick(LINES[unit])(r, r.pick(pods))}`;
    lines.push(line);
    length += line.length + 1;
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function dmesg(node) {
  const lines = [
    '[    0.000000] Linux version 6.1.0-28-amd64 (debian-kernel@lists.debian.org)',
    '[    3.412871] Bridge firewalling registered',
  ];
  for (const p of node.pods) {
    const at = `[${String(100 + p.ifindex).padStart(5)}.${p.id.slice(0, 6).replace(/\D/g, '1')}]`;
    lines.push(
      `${at} cni0: port ${p.port}(${p.veth}) entered blocking state`,
      `${at} device ${p.veth} entered promiscuous mode`,
      `${at} cni0: port ${p.port}(${p.veth}) entered forwarding state`,
    );
  }
  return `${lines.join('\n')}\n`;
}
