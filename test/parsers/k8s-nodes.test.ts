import { describe, expect, test } from 'vitest';
import { lineOf, parse, parserOf } from './firewall-docker-samples.ts';

const node = (name: string, annotations: Readonly<Record<string, unknown>>, spec: unknown = {}) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, annotations },
  spec,
});
const flannel = (data: unknown, ip: unknown = '192.0.2.7') => ({
  'flannel.alpha.coreos.com/backend-data': data,
  'flannel.alpha.coreos.com/public-ip': ip,
});
const print = (value: unknown) => `${JSON.stringify(value, null, 4)}\n`;

describe('nodes of the Kubernetes API', () => {
  test('a list: each annotation has its own line', () => {
    const text = print({
      kind: 'List',
      items: [
        node(
          'a',
          { ...flannel('{"VNI":1,"VtepMAC":"E6:7C:02:8e:e8:7e"}'), 'flannel.alpha.coreos.com/backend-type': 'vxlan' },
          { podCIDR: '10.244.1.0/24' },
        ),
        node('b', {}, { podCIDR: '10.244.2.0/24', podCIDRs: ['10.244.2.0/24', 'fd00:2::/64'] }),
      ],
    });
    const [a, b] = parse('k8sNodes', text).nodes;
    expect(a).toMatchObject({
      name: 'a',
      podCidrs: ['10.244.1.0/24'],
      vtepMac: { value: 'e6:7c:02:8e:e8:7e' },
      publicIp: { value: '192.0.2.7' },
      backendType: { value: 'vxlan' },
    });
    expect(lineOf(text, a?.vtepMac?.line ?? 0)).toContain('VtepMAC');
    expect(lineOf(text, a?.publicIp?.line ?? 0)).toContain('public-ip');
    expect(b).toMatchObject({ name: 'b', podCidrs: ['10.244.2.0/24', 'fd00:2::/64'] });
    expect(lineOf(text, a?.backendType?.line ?? 0)).toContain('"flannel.alpha.coreos.com/backend-type": "vxlan"');
    expect(b).not.toHaveProperty('vtepMac');
    expect(b).not.toHaveProperty('backendType');
  });

  test('an address that somebody set, and where the pod range stands', () => {
    const text = print(
      node(
        'n',
        { ...flannel('null'), 'flannel.alpha.coreos.com/public-ip-overwrite': '203.0.113.9' },
        { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] },
      ),
    );
    const [n] = parse('k8sNodes', text).nodes;
    expect(n).toMatchObject({ publicIpOverwrite: { value: '203.0.113.9' } });
    expect(lineOf(text, n?.publicIpOverwrite?.line ?? 0)).toContain('public-ip-overwrite');
    expect(lineOf(text, n?.podCidrsAt?.line ?? 0)).toContain('"podCIDR": "10.244.1.0/24"');
    const [six] = parse('k8sNodes', print(node('n', {}, { podCIDRs: ['fd00:2::/64'] }))).nodes;
    expect(six?.podCidrsAt).toBeDefined();
    expect(parse('k8sNodes', print(node('n', {}))).nodes[0]).not.toHaveProperty('podCidrsAt');
  });

  test('one node, as a kubelet may ask for its own', () => {
    expect(parse('k8sNodes', print(node('n', flannel('{"VtepMAC":"0e:00:00:00:00:01"}')))).nodes).toMatchObject([
      { name: 'n', podCidrs: [], vtepMac: { value: '0e:00:00:00:00:01' } },
    ]);
  });

  test('what the kubelet said of itself, each with its line', () => {
    const nodeInfo = {
      architecture: 'amd64',
      containerRuntimeVersion: 'containerd://1.7.24',
      kernelVersion: '6.1.0-28-amd64',
      kubeProxyVersion: 'v1.31.4',
      kubeletVersion: 'v1.31.4',
      osImage: 'Debian GNU/Linux 12 (bookworm)',
    };
    const text = print({ ...node('n', {}), status: { nodeInfo } });
    const [n] = parse('k8sNodes', text).nodes;
    expect(n).toMatchObject({
      kubeletVersion: { value: 'v1.31.4' },
      runtimeVersion: { value: 'containerd://1.7.24' },
    });
    expect(lineOf(text, n?.kubeletVersion?.line ?? 0)).toContain('"kubeletVersion": "v1.31.4"');
    expect(lineOf(text, n?.runtimeVersion?.line ?? 0)).toContain('"containerRuntimeVersion"');
    const odd = print({
      ...node('n', {}),
      status: { nodeInfo: { kubeletVersion: 1.31, containerRuntimeVersion: '' } },
    });
    expect(parse('k8sNodes', odd).nodes[0]).not.toHaveProperty('kubeletVersion');
    expect(parse('k8sNodes', odd).nodes[0]).not.toHaveProperty('runtimeVersion');
  });

  test.each([
    ['null of the host-gw backend', 'null'],
    ['no JSON', '{"VtepMAC":'],
    ['no MAC', '{"VtepMAC":"x"}'],
    ['a number', 7],
    ['a key of every object', '{"__proto__":{"VtepMAC":"0e:00:00:00:00:01"}}'],
  ])('backend data that say no MAC: %s', (_, data) => {
    expect(parse('k8sNodes', print(node('n', flannel(data)))).nodes[0]).not.toHaveProperty('vtepMac');
  });

  test('what is no node is told', () => {
    const torn = parserOf('k8sNodes').parse(print({ items: [node('a', {}), node('b', {})] }).slice(0, 300));
    expect(torn).toMatchObject({ ok: true, value: { nodes: [{ name: 'a' }] } });
    expect(torn.ok && torn.skipped.length).toBeGreaterThan(0);
    expect(parserOf('k8sNodes').parse('Error from server (Forbidden)\n')).toMatchObject({ ok: false });
    expect(parserOf('k8sNodes').parse('{"kind":"Status"}\n')).toMatchObject({ ok: false });
    expect(parserOf('k8sNodes').parse('{"kind":"List","items":[]}\n')).toMatchObject({
      ok: true,
      value: { nodes: [] },
    });
  });
});
