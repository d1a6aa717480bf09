import { expect, it } from 'vitest';
import { rule } from '../../../rules/cni/cni-not-ready.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import {
  ALL,
  CONTAINERD_NET,
  CONTAINERD_TOML,
  cniNode,
  crictlInfo,
  FLANNEL_CONFLIST,
  NO_CONF,
  plugins,
} from './nodes.ts';

const CONFLIST = 'files/etc/cni/net.d/10-flannel.conflist';
const KUBELET = 'cmdline/kubelet.txt';
const SHIM = '/usr/bin/kubelet\n--kubeconfig=/etc/kubernetes/kubelet.conf\n--network-plugin=cni\n';
const DOCKERD = '/usr/bin/kubelet\n--container-runtime-endpoint=unix:///run/cri-dockerd.sock\n';
const CRIO = '/usr/bin/kubelet\n--container-runtime-endpoint=unix:///var/run/crio/crio.sock\n';
const K3S = '/run/k3s/containerd/containerd.sock';

testRule(rule, {
  finds: {
    'no file in the directory': {
      nodes: { a: cniNode(NO_CONF) },
      expect: [
        {
          key: 'no configuration',
          severity: 'critical',
          confidence: 'likely',
          nodes: ['a'],
          message: /^\/etc\/cni\/net\.d on a holds no CNI configuration: no pod can start there/,
          cites: ['absent: the file itself (absent: no such file: /etc/cni/net.d/*)'],
        },
      ],
    },
    'no file, and containerd says so': {
      nodes: {
        a: cniNode({
          ...NO_CONF,
          'cri/info.json': crictlInfo(
            false,
            'cni config load failed: no network config found in /etc/cni/net.d: cni plugin not initialized: failed to load cni config',
          ),
        }),
      },
      expect: [
        {
          key: 'no configuration',
          confidence: 'proven',
          cites: ['absent: the file itself', '"lastCNILoadStatus": "cni config load failed: no network config found'],
        },
      ],
    },
    'only a file that no runtime reads': {
      nodes: { a: cniNode({ [CONFLIST]: null, 'files/etc/cni/net.d/10-flannel.conflist.bak': FLANNEL_CONFLIST }) },
      expect: [
        {
          key: 'no configuration',
          message: /\(10-flannel\.conflist\.bak is not read: only/,
          cites: ['absent: the file itself'],
        },
      ],
    },
    'a comma too many': {
      nodes: { a: cniNode({ [CONFLIST]: FLANNEL_CONFLIST.replace('"cbr0",', '"cbr0",,') }) },
      expect: [
        {
          key: 'broken 10-flannel.conflist',
          severity: 'critical',
          message: /10-flannel\.conflist on a is not valid JSON \(\w+, line 2\): no pod can start there/,
          cites: ['"name": "cbr0",,'],
        },
      ],
    },
    'an empty file, as a full disk leaves it': {
      nodes: { a: cniNode({ [CONFLIST]: '' }) },
      expect: [
        { key: 'broken 10-flannel.conflist', message: /is not valid JSON \(it holds no JSON, line 1\)/, cites: [''] },
      ],
    },
    'a list in a file for one plugin': {
      nodes: { a: cniNode({ [CONFLIST]: null, 'files/etc/cni/net.d/10-flannel.conf': FLANNEL_CONFLIST }) },
      expect: [
        {
          message: /10-flannel\.conf on a holds a list of plugins, which only a file named \.conflist may/,
          cites: ['{'],
        },
      ],
    },
    'one plugin in a file for a list': {
      nodes: { a: cniNode({ [CONFLIST]: '{"name":"cbr0","cniVersion":"0.3.1","type":"flannel"}\n' }) },
      expect: [{ confidence: 'possible', message: /has no list of “plugins”/, cites: ['"type":"flannel"'] }],
    },
    'a list without a name': {
      nodes: { a: cniNode({ [CONFLIST]: FLANNEL_CONFLIST.replace('  "name": "cbr0",\n', '') }) },
      expect: [{ message: /has no “name”/, cites: ['{'] }],
    },
    'a plugin without a type': {
      nodes: { a: cniNode({ [CONFLIST]: FLANNEL_CONFLIST.replace('"type": "portmap",', '') }) },
      expect: [{ message: /has a plugin without a “type”/, cites: ['"capabilities"'] }],
    },
    'containerd stops at a broken file although flannel’s lies behind it': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/05-old.conf': '{"name":"old",\n' }) },
      expect: [
        {
          key: 'broken 05-old.conf',
          message: /05-old\.conf on a is not valid JSON .*, and the files behind it are not tried: no pod can start/,
          cites: ['{"name":"old",'],
        },
      ],
    },
    'flannel calls bridge, which is not installed': {
      nodes: { a: cniNode({ 'cni/bin.txt': plugins('flannel', 'host-local', 'loopback', 'portmap') }) },
      expect: [
        {
          key: 'plugins missing',
          severity: 'critical',
          confidence: 'proven',
          message:
            /^\/opt\/cni\/bin on a lacks CNI plugins: bridge \(called by flannel\) is missing; new pods there do not start$/,
          cites: ['"type": "flannel"', 'absent: a file bridge'],
        },
      ],
    },
    'the plugin of the addresses': {
      nodes: { a: cniNode({ 'cni/bin.txt': plugins('bridge', 'flannel', 'loopback', 'portmap') }) },
      expect: [
        {
          message: /host-local \(called by flannel\) is missing/,
          cites: ['"type": "flannel"', 'absent: a file host-local'],
        },
      ],
    },
    'containerd’s own loopback': {
      nodes: { a: cniNode({ 'cni/bin.txt': plugins('bridge', 'flannel', 'host-local', 'portmap') }) },
      expect: [{ message: /loopback \(called for every pod\) is missing/, cites: ['absent: a file loopback'] }],
    },
    'a program that nobody may run': {
      nodes: {
        a: cniNode({
          'cni/bin.txt': ALL.replace(
            '-rwxr-xr-x 1 root root 4016001 Jan 11  2024 portmap',
            '-rw-r--r-- 1 root root 4016001 Jan 11  2024 portmap',
          ),
        }),
      },
      expect: [
        {
          message: /portmap \(called by the configuration\) is not executable/,
          cites: ['"type": "portmap"', '-rw-r--r-- 1 root root 4016001 Jan 11  2024 portmap'],
        },
      ],
    },
    'a program of no bytes': {
      nodes: { a: cniNode({ 'cni/bin.txt': ALL.replace('4016001 Jan 11  2024 flannel', '0 Nov 24 16:28 flannel') }) },
      expect: [
        {
          message: /flannel \(called by the configuration\) is an empty file/,
          cites: ['"type": "flannel"', ' 0 Nov 24 16:28 flannel'],
        },
      ],
    },
    'the directory of plugins is not there, and containerd is told of it': {
      nodes: { a: cniNode({ 'cni/bin.txt': { status: 'absent', reason: 'no such directory: /opt/cni/bin' } }) },
      expect: [
        {
          message: /flannel .* is missing, bridge .* is missing/,
          cites: [
            '"type": "flannel"',
            'no such directory: /opt/cni/bin',
            '"type": "flannel"',
            'no such directory',
            '"type": "flannel"',
            'no such directory',
            '"type": "portmap"',
            'no such directory',
          ],
        },
      ],
    },
    dockershim: {
      nodes: {
        a: cniNode({ [KUBELET]: SHIM, 'cni/bin.txt': plugins('flannel', 'host-local', 'loopback', 'portmap') }),
      },
      expect: [
        { message: /bridge \(called by flannel\) is missing/, cites: ['"type": "flannel"', 'absent: a file bridge'] },
      ],
    },
    'the files are right, and containerd has not loaded them': {
      nodes: { a: cniNode({ 'cri/info.json': crictlInfo(false) }) },
      expect: [
        {
          key: 'not ready',
          confidence: 'proven',
          message:
            /says that its network is not ready: Network plugin returns error: cni plugin not initialized; no pod can start/,
          cites: ['"type": "NetworkReady",\n        "status": false'],
        },
      ],
    },
    'k3s has its files elsewhere, and its containerd says that they are not there': {
      nodes: {
        a: cniNode({
          ...NO_CONF,
          [KUBELET]: { status: 'absent' },
          'cmdline/k3s.txt': '/usr/local/bin/k3s agent\n',
          'cri/info.json': crictlInfo(
            false,
            'cni config load failed: no network config found in /var/lib/rancher/k3s/agent/etc/cni/net.d: cni plugin not initialized: failed to load cni config',
            '/var/lib/rancher/k3s/agent/etc/cni/net.d',
            K3S,
          ),
        }),
      },
      expect: [{ key: 'not ready', cites: ['NetworkReady', 'lastCNILoadStatus'] }],
    },
  },
  passes: {
    'flannel’s file, and all that it calls': { nodes: { a: cniNode() } },
    'containerd says so too': { nodes: { a: cniNode({ 'cri/info.json': crictlInfo(true) }) } },
    'what has another end is not read': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/05-old.conf.bak': '{"name":', 'files/etc/cni/net.d/README': 'x' }) },
    },
    'a broken file behind the first': { nodes: { a: cniNode({ 'files/etc/cni/net.d/99-old.conf': '{"name":' }) } },
    'dockershim passes over a broken file': {
      nodes: { a: cniNode({ [KUBELET]: SHIM, 'files/etc/cni/net.d/05-old.conf': '{"name":' }) },
    },
    'dockershim passes over a file whose plugin is not installed': {
      nodes: {
        a: cniNode({ [KUBELET]: SHIM, 'files/etc/cni/net.d/05-cilium.conf': '{"name":"cilium","type":"cilium-cni"}' }),
      },
    },
    'cri-dockerd': {
      nodes: {
        a: cniNode({
          [KUBELET]: DOCKERD,
          'cmdline/cri-dockerd.txt':
            '/usr/bin/cri-dockerd\n--container-runtime-endpoint\nfd://\n--network-plugin=cni\n',
        }),
      },
    },
    'containerd without a word of CNI in its file': {
      nodes: { a: cniNode({ 'files/etc/containerd/config.toml': 'version = 2\n' }) },
    },
    'containerd without a file': {
      nodes: { a: cniNode({ 'files/etc/containerd/config.toml': { status: 'absent' } }) },
    },
    'containerd 2 sets lo up itself when it is told to': {
      nodes: {
        a: cniNode({
          'files/etc/containerd/config.toml':
            "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dirs = ['/opt/cni/bin']\n  use_internal_loopback = true\n",
          'cni/bin.txt': plugins('bridge', 'flannel', 'host-local', 'portmap'),
        }),
      },
    },
    'links to a program of the same directory': {
      nodes: {
        a: cniNode({
          'cni/bin.txt': `${plugins('bridge', 'flannel-amd64', 'host-local', 'loopback', 'portmap')}lrwxrwxrwx 1 root root 13 Jan 11  2024 flannel -> flannel-amd64\n`,
        }),
      },
    },
  },
  notApplicable: {
    'docker without a kubelet': {
      nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: { status: 'absent', reason: 'no process kubelet' } }) },
    },
    'a kubelet with docker’s own networks': {
      nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: '/usr/bin/kubelet\n--container-runtime=docker\n' }) },
    },
    kubenet: { nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: '/usr/bin/kubelet\n--network-plugin=kubenet\n' }) } },
  },
  unknown: {
    'the files were not collected': {
      nodes: { a: cniNode({ [CONFLIST]: null }) },
      because: /which files \/etc\/cni\/net\.d holds was not collected/,
    },
    'the plugins were not collected': {
      nodes: { a: cniNode({ 'cni/bin.txt': null }) },
      because: /the directory of plugins not collected/,
    },
    'the listing was cut': {
      nodes: { a: cniNode({ 'cni/bin.txt': { status: 'truncated', text: plugins('flannel', 'host-local') } }) },
      because: /the list of plugins was not collected whole/,
    },
    'the file could not be read': {
      nodes: { a: cniNode({ [CONFLIST]: { status: 'denied' } }) },
      because: /10-flannel\.conflist, which decides, is not known/,
    },
    'a file that was cut': {
      nodes: { a: cniNode({ [CONFLIST]: { status: 'truncated', text: FLANNEL_CONFLIST.slice(0, 80) } }) },
      because: /is not known as it lies on the node/,
    },
    'a bundle that was cut may lack any file': {
      nodes: { a: cniNode(NO_CONF, { complete: false }) },
      because: /its config\.toml was not read whole/,
    },
    'the same of dockershim, which has no file of its own': {
      nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: SHIM }, { complete: false }) },
      because: /which files .* holds was not collected/,
    },
    'a debug pod sees the node’s processes and its own files': {
      nodes: { a: cniNode(NO_CONF, { context: { uid: 0, netns: null, pid1netns: null, mode: 'container' } }) },
      because: /the collector ran in a container/,
    },
    'who is not root may be shown an empty directory': {
      nodes: {
        a: cniNode(
          { ...NO_CONF, [KUBELET]: SHIM },
          { context: { uid: 1000, netns: null, pid1netns: null, mode: 'host' } },
        ),
      },
      because: /which files .* holds was not collected/,
    },
    'a folder of copies proves no absence': {
      nodes: { a: cniNode({ 'cni/bin.txt': plugins('flannel') }, { format: 'loose-files' }) },
      because: /whether another file than 10-flannel\.conflist comes first/,
    },
    'containerd looks elsewhere': {
      nodes: {
        a: cniNode({
          'files/etc/containerd/config.toml': CONTAINERD_TOML.replace('/opt/cni/bin', '/usr/lib/cni'),
          'cni/bin.txt': plugins('flannel'),
        }),
      },
      because: /containerd looks for them in \/usr\/lib\/cni, which was not collected/,
    },
    'containerd looks elsewhere as well': {
      nodes: {
        a: cniNode({
          'files/etc/containerd/config.toml':
            "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dirs = ['/opt/cni/bin', '/usr/libexec/cni']\n",
          'cni/bin.txt': plugins('flannel'),
        }),
      },
      because:
        /whether bridge, host-local, portmap, loopback is installed: containerd also looks in \/usr\/libexec\/cni/,
    },
    'no plugin at all where only the default says to look': {
      nodes: {
        a: cniNode({ 'files/etc/containerd/config.toml': 'version = 2\n', 'cni/bin.txt': { status: 'absent' } }),
      },
      because: /none of them is in \/opt\/cni\/bin, and containerd may have another directory built in/,
    },
    'containerd reads another file (NixOS)': {
      nodes: {
        a: cniNode({
          'cmdline/containerd.txt': '/run/current-system/sw/bin/containerd\n--config\n/nix/store/abc-containerd.toml\n',
        }),
      },
      because: /it reads \/nix\/store\/abc-containerd\.toml/,
    },
    'containerd’s file imports others': {
      nodes: {
        a: cniNode({
          'files/etc/containerd/config.toml': 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
        }),
      },
      because: /imports other files/,
    },
    'settings in a table of another version': {
      nodes: {
        a: cniNode({ 'files/etc/containerd/config.toml': CONTAINERD_TOML.replace('version = 2', 'version = 3') }),
      },
      because: /is in a table that files of this version do not have/,
    },
    'another directory of configurations': {
      nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: `${SHIM}--cni-conf-dir=/etc/kubernetes/cni\n` }) },
      because: /reads its CNI configuration from \/etc\/kubernetes\/cni/,
    },
    'another directory of plugins for the old kubelet': {
      nodes: {
        a: cniNode({ [KUBELET]: `${SHIM}--cni-bin-dir=/usr/local/cni\n`, 'cni/bin.txt': { status: 'absent' } }),
      },
      because: /dockershim looks for them in \/usr\/local\/cni/,
    },
    'a kubelet out of the image hyperkube, which has the plugins in it': {
      nodes: {
        a: cniNode({ [KUBELET]: '/hyperkube\nkubelet\n--network-plugin=cni\n', 'cni/bin.txt': plugins('flannel') }),
      },
      because: /dockershim looks for them in a directory that its configuration names/,
    },
    'dockershim without any plugin on the node: the kubelet may be in a container': {
      nodes: { a: cniNode({ [KUBELET]: SHIM, 'cni/bin.txt': { status: 'absent' } }) },
      because: /none of them is in \/opt\/cni\/bin, and dockershim may have another directory built in/,
    },
    'CRI-O without a file: it may be told of another directory': {
      nodes: { a: cniNode({ ...NO_CONF, [KUBELET]: CRIO }) },
      because: /its crio\.conf was not collected/,
    },
    'CRI-O’s plugins': {
      nodes: { a: cniNode({ [KUBELET]: CRIO, 'cni/bin.txt': { status: 'absent' } }) },
      because: /CRI-O looks for them in a directory that its configuration names/,
    },
    'k3s and RKE2': {
      nodes: {
        k3s: cniNode({ ...NO_CONF, [KUBELET]: { status: 'absent' }, 'cmdline/k3s.txt': '/usr/local/bin/k3s server\n' }),
        rke2: cniNode({
          [KUBELET]: `/var/lib/rancher/rke2/bin/kubelet\n--container-runtime-endpoint=unix://${K3S}\n`,
          'cmdline/rke2.txt': '/usr/local/bin/rke2 agent\n',
        }),
      },
      because: /k3s or RKE2 gives its containerd directories of CNI files of its own/,
    },
    'k3s says that its network is ready: its plugins are not known all the same': {
      nodes: {
        a: cniNode({
          [KUBELET]: { status: 'absent' },
          'cmdline/k3s.txt': '/usr/local/bin/k3s server\n',
          'cri/info.json': crictlInfo(true, 'OK', '/var/lib/rancher/k3s/agent/etc/cni/net.d', K3S),
        }),
      },
      because: /reads its CNI configuration from \/var\/lib\/rancher\/k3s\/agent\/etc\/cni\/net\.d/,
    },
    'a kubelet without an endpoint': {
      nodes: { a: cniNode({ [KUBELET]: '/usr/bin/kubelet\n' }) },
      because: /which runtime the kubelet uses is not known/,
    },
    'no file, but the runtime is content': {
      nodes: { a: cniNode({ ...NO_CONF, 'cri/info.json': crictlInfo(true) }) },
      because: /holds no configuration, but the runtime says that its network is ready/,
    },
    'a link to elsewhere': {
      nodes: {
        a: cniNode({
          'cni/bin.txt': `${plugins('bridge', 'host-local', 'loopback', 'portmap')}lrwxrwxrwx 1 root root 20 Jan 11  2024 flannel -> /usr/lib/cni/flannel\n`,
        }),
      },
      because: /flannel can be called: flannel is a link to \/usr\/lib\/cni\/flannel/,
    },
    'info of another runtime than the kubelet’s does not count': {
      nodes: { a: cniNode({ [KUBELET]: CRIO, 'cri/info.json': crictlInfo(false) }) },
      because: /CRI-O looks for them/,
    },
  },
});

it('a file beside flannel’s is taken out of the way; flannel’s own is written anew by its pod', () => {
  const run = (nodes: ReturnType<typeof cniNode>) => judge([rule], { a: nodes }).findings[0]?.remediation?.[0]?.run;
  expect(run(cniNode({ "files/etc/cni/net.d/05-it's.conf": '{' }))).toBe(
    `mv '/etc/cni/net.d/05-it'\\''s.conf' '/etc/cni/net.d/05-it'\\''s.conf.off'`,
  );
  expect(run(cniNode({ [CONFLIST]: '{' }))).toMatch(
    /^kubectl delete pod -A -l app=flannel --field-selector spec\.nodeName=a/,
  );
  expect(
    run(
      cniNode({
        [CONFLIST]: CONTAINERD_NET,
        'cni/bin.txt': ALL.replace(
          '-rwxr-xr-x 1 root root 4016001 Jan 11  2024 bridge',
          '-rw-r--r-- 1 root root 4016001 Jan 11  2024 bridge',
        ),
      }),
    ),
  ).toBe('chmod 755 /opt/cni/bin/bridge');
});
