import { rule } from '../../../rules/docker/docker-bip-not-flannel-subnet.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, type DockerNetworkSpec, dockerNode } from '../forwarding/nodes.ts';

const ENV = 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
/** As CentOS 7 has it: /usr/lib/systemd/system/docker.service.d/flannel.conf. */
const UNIT = `# /usr/lib/systemd/system/docker.service
[Service]
ExecStart=/usr/bin/dockerd $DOCKER_NETWORK_OPTIONS

# /usr/lib/systemd/system/docker.service.d/flannel.conf
[Service]
EnvironmentFile=-/run/flannel/docker
`;
const PLAIN = '# /lib/systemd/system/docker.service\n[Service]\nExecStart=/usr/bin/dockerd -H fd://\n';
const container = (name: string, network = 'bridge', ip = '172.17.0.2') =>
  `{"Id":"${'ab'.repeat(32)}","Name":"/${name}","State":{"Pid":4242,"Status":"running"},"NetworkSettings":{"Ports":{},"Networks":{"${network}":{"IPAddress":"${ip}"}}}}\n`;
const POD = container('k8s_POD_web-0_default_0e2d8f5a_0');
const node = (files: Files, networks: readonly DockerNetworkSpec[] = [DOCKER0]): { a: NodeFiles } => ({
  a: dockerNode(DOCKER_SAVE, networks, {
    'files/run/flannel/subnet.env': ENV,
    'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
    'files/etc/docker/daemon.json': { status: 'absent' },
    'systemd/docker.txt': UNIT,
    ...files,
  }),
});
const LEASED: DockerNetworkSpec = { ...DOCKER0, subnet: '10.244.3.0/24', gateway: '10.244.3.1' };

testRule(rule, {
  finds: {
    'dockerd was started before flanneld wrote its options': {
      nodes: node({}),
      expect: [
        {
          key: 'docker0',
          severity: 'critical',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^docker0 on a has 172\.17\.0\.1\/16 but flannel leased 10\.244\.3\.1\/24: its containers are outside/,
          cites: [
            'inet 172.17.0.1/16',
            'FLANNEL_SUBNET=10.244.3.1/24',
            'ExecStart=/usr/bin/dockerd $DOCKER_NETWORK_OPTIONS',
          ],
        },
      ],
    },
    'pods hang on docker0 (kubelet without --network-plugin=cni)': {
      nodes: node({ 'systemd/docker.txt': PLAIN, 'docker/containers.jsonl': POD }),
      expect: [
        {
          severity: 'critical',
          confidence: 'likely',
          cites: ['inet 172.17.0.1/16', 'FLANNEL_SUBNET=', '"Name":"/k8s_POD_'],
        },
      ],
    },
    'nobody is attached yet': {
      nodes: node({}, [{ ...DOCKER0, empty: true }]),
      expect: [
        {
          severity: 'medium',
          message: /containers will be outside/,
          cites: ['inet 172.17.0.1/16', 'FLANNEL_SUBNET=', '$DOCKER_NETWORK_OPTIONS'],
        },
      ],
    },
  },
  passes: { 'docker0 has the lease': { nodes: node({}, [LEASED]) } },
  notApplicable: {
    'Kubernetes with CNI: docker0 is unused and 172.17 is fine': {
      nodes: node({
        'files/etc/cni/net.d/10-flannel.conflist':
          '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}}]}\n',
      }),
    },
    'a bridge of CNI is there': {
      nodes: node({}, [DOCKER0, { name: 'cbr0', bridge: 'cni0', subnet: '10.244.3.0/24', gateway: '10.244.3.1' }]),
    },
    'containers that are not meant for the overlay': {
      nodes: node({ 'systemd/docker.txt': PLAIN, 'docker/containers.jsonl': container('registry') }),
    },
    'a network of its own has the leased subnet': {
      nodes: node({}, [
        DOCKER0,
        { name: 'flannel', bridge: 'br-0123456789ab', subnet: '10.244.3.0/24', gateway: '10.244.3.1' },
      ]),
    },
    '--bip was given: another rule judges which': {
      nodes: node({ 'cmdline/dockerd.txt': '/usr/bin/dockerd\n--bip=10.244.9.1/24\n' }),
    },
    'docker0 has an older lease: another rule says so': {
      nodes: node({}, [{ ...DOCKER0, subnet: '10.244.9.0/24', gateway: '10.244.9.1' }]),
    },
    'no flannel': { nodes: node({ 'files/run/flannel/subnet.env': { status: 'absent' } }) },
    'no docker0': { nodes: node({}, []) },
  },
  unknown: {
    'neither docker’s unit nor its containers were collected': {
      nodes: node({ 'systemd/docker.txt': { status: 'failed' } }),
      because: /whether dockerd is meant to use flannel’s subnet/,
    },
    'subnet.env names no subnet': {
      nodes: node({ 'files/run/flannel/subnet.env': 'FLANNEL_NETWORK=10.244.0.0/16\n' }),
      because: /no readable FLANNEL_SUBNET/,
    },
  },
});
