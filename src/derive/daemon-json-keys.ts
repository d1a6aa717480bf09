type Type = 'string' | 'number' | 'boolean' | 'array' | 'object' | 'any';

const list = (type: Type, names: string): [string, Type][] => names.split(/\s+/).map((name) => [name, type]);

/**
 * Keys that dockerd takes in daemon.json and the JSON type it demands (docs.docker.com/reference/cli/dockerd/#daemon-configuration-file,
 * moby daemon/config). Keys of all versions together: which version introduced one is in SINCE.
 */
export const KNOWN_KEYS: ReadonlyMap<string, Type> = new Map<string, Type>([
  ...list(
    'string',
    `api-cors-header bip bip6 bridge cgroup-parent containerd containerd-namespace
    cluster-store cluster-advertise config-file data-root default-cgroupns-mode default-gateway
    default-gateway-v6 default-ipc-mode default-runtime default-shm-size exec-root firewall-backend fixed-cidr fixed-cidr-v6 graph group
    http-proxy https-proxy no-proxy host-gateway-ip init-path ip log-driver log-format log-level metrics-addr
    deprecated-key-path pidfile seccomp-profile storage-driver swarm-default-advertise-addr tlscacert tlscert tlskey userland-proxy-path userns-remap min-api-version
    bridge-accept-fwmark containerd-plugins-namespace`,
  ),
  ...list(
    'boolean',
    `allow-direct-routing cri-containerd debug disable-legacy-registry experimental icc init ip-forward ip-forward-no-drop ip-masq
    ip6tables iptables ipv6 live-restore no-new-privileges rootless selinux-enabled tls tlsverify userland-proxy raw-logs`,
  ),
  ...list(
    'number',
    `cpu-rt-period cpu-rt-runtime max-concurrent-downloads max-concurrent-uploads max-download-attempts mtu network-control-plane-mtu
    network-diagnostic-port oom-score-adjust shutdown-timeout swarm-raft-election-tick swarm-raft-heartbeat-tick`,
  ),
  ...list(
    'array',
    `allow-nondistributable-artifacts authorization-plugins cdi-spec-dirs default-address-pools dns dns-opts dns-search exec-opts
    host-gateway-ips hosts insecure-registries labels node-generic-resources registry-mirrors storage-opts`,
  ),
  ...list(
    'object',
    'builder cluster-store-opts default-network-opts default-ulimits features log-opts nri-opts proxies runtimes',
  ),
  ['config-file', 'any'],
  ['help', 'any'],
  ['version', 'any'],
  ['validate', 'any'],
]);

/** Docker's major version that first took a key; keys of 1.13 and most of those between it and 20 are left out. */
export const SINCE: ReadonlyMap<string, number> = new Map([
  ['data-root', 17],
  ['default-address-pools', 18],
  ['features', 18],
  ['ip6tables', 20],
  ['default-cgroupns-mode', 20],
  ['host-gateway-ip', 20],
  ['max-download-attempts', 20],
  ['swarm-raft-election-tick', 23],
  ['swarm-raft-heartbeat-tick', 23],
  ['validate', 23],
  ['feature', 23],
  ['default-network-opt', 24],
  ['http-proxy', 23],
  ['https-proxy', 23],
  ['no-proxy', 23],
  ['proxies', 23],
  ['default-network-opts', 24],
  ['cdi-spec-dirs', 25],
  ['log-format', 25],
  ['bip6', 27],
  ['ip-forward-no-drop', 28],
  ['allow-direct-routing', 28],
  ['nri-opts', 29],
  ['host-gateway-ips', 28],
  ['bridge-accept-fwmark', 28],
  ['firewall-backend', 29],
  ['min-api-version', 29],
]);

/** Docker's major version that no longer takes a key (docs.docker.com/engine/deprecated/; the first of them was measured on 20.10). */
export const REMOVED_KEYS: ReadonlyMap<string, number> = new Map([
  ['disable-legacy-registry', 19],
  ['graph', 23],
  ['cluster-store', 23],
  ['cluster-advertise', 23],
  ['cluster-store-opts', 23],
  ['oom-score-adjust', 26],
]);

/** dockerd's flags whose key in the file has another name (mostly a plural): dockerd accepts and ignores them there, beside the flag too. */
export const FLAG_NAMES: ReadonlySet<string> = new Set(
  `add-runtime authorization-plugin cluster-store-opt default-address-pool default-ulimit default-network-opt dns-opt exec-opt feature
  host insecure-registry label log-opt node-generic-resource registry-mirror storage-opt`.split(/\s+/),
);

/** Docker's newest major version whose settings are in these lists: a later one may know more. */
export const NEWEST_KNOWN = 29;

/** dockerd's one-letter flags. */
export const SHORT_FLAGS: ReadonlyMap<string, string> = new Map([
  ['bridge', 'b'],
  ['debug', 'D'],
  ['graph', 'g'],
  ['group', 'G'],
  ['hosts', 'H'],
  ['log-level', 'l'],
  ['pidfile', 'p'],
  ['storage-driver', 's'],
]);

/** Storage drivers that a major version of Docker removed. */
export const REMOVED_DRIVERS: ReadonlyMap<string, number> = new Map([
  ['aufs', 24],
  ['overlay', 24],
  ['devicemapper', 25],
]);

/** Storage drivers before snapshotters of containerd came (23), whose names are without end. */
export const STORAGE_DRIVERS: ReadonlySet<string> = new Set(
  'overlay2 overlay aufs btrfs devicemapper vfs zfs fuse-overlayfs'.split(' '),
);

/** The options of storage drivers, in small letters, before containerd's snapshotters came (29); a driver refuses any other. */
export const STORAGE_OPTIONS: ReadonlyMap<string, RegExp> = new Map([
  ['overlay2', /^overlay2\.(override_kernel_check|size)$/],
  ['devicemapper', /^dm\./],
  ['btrfs', /^btrfs\.min_space$/],
  ['zfs', /^zfs\.fsname$/],
  ['vfs', /^size$/],
]);
