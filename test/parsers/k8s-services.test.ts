import { expect, test } from 'vitest';
import { lineOf, parse, parserOf } from './firewall-docker-samples.ts';

const print = (value: unknown) => `${JSON.stringify(value, null, 4)}\n`;
const service = (name: string, spec: unknown) => ({
  kind: 'Service',
  metadata: { name, namespace: 'kube-system' },
  spec,
});

test('services of the Kubernetes API: addresses, ports, and the line of the ClusterIP', () => {
  const text = print({
    kind: 'List',
    items: [
      service('kube-dns', {
        clusterIP: '10.96.0.10',
        clusterIPs: ['10.96.0.10', 'fd00::a'],
        ports: [{ port: 53, protocol: 'UDP' }, { port: 9153 }],
      }),
      service('headless', { clusterIP: 'None', ports: [] }),
      service('old', { clusterIP: '10.96.0.9' }),
    ],
  });
  const [dns, headless, old] = parse('k8sServices', text).services;
  expect(dns).toMatchObject({
    name: 'kube-system/kube-dns',
    addresses: ['10.96.0.10', 'fd00::a'],
    ports: [
      { port: 53, proto: 'udp' },
      { port: 9153, proto: 'tcp' },
    ],
  });
  expect(lineOf(text, dns?.line ?? 0)).toContain('"clusterIP": "10.96.0.10"');
  expect(headless?.addresses).toEqual([]);
  expect(old).toMatchObject({ addresses: ['10.96.0.9'], ports: [] });
});

test('other JSON is no list of services', () => {
  const parser = parserOf('k8sServices');
  for (const text of ['', '[]', '{}', '{"items":[{"kind":"Pod"}]}', 'Error from server (Forbidden)'])
    expect(parser.parse(text).ok).toBe(false);
});
