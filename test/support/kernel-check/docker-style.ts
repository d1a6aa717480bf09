import { type BridgePart, bridgeSubnet, containerIp, type NodePart } from './plan.ts';

export const containerNetns = (bridge: BridgePart, at: number): string => `ctr-${bridge.name}-${at + 1}`;

/** Bridges, containers' namespaces and docker-proxy processes, as shell lines of the node. */
export function dockerDevices(node: NodePart): string {
  return node.bridges.map((bridge) => bridgeScript(node, bridge)).join('');
}

function bridgeScript(node: NodePart, bridge: BridgePart): string {
  const lines = [
    `link add ${bridge.name} type bridge`,
    `addr add ${bridge.prefix}.1/${bridge.length} brd + dev ${bridge.name}`,
    `link set ${bridge.name} up`,
  ];
  const netns = bridge.containers.map((_host, at) => {
    const name = containerNetns(bridge, at);
    const port = `v${bridge.name.slice(-6)}${at}`;
    lines.push(`link add ${port} type veth peer name eth0 netns ${name}`, `link set ${port} master ${bridge.name} up`);
    const route = bridge.internal ? '' : `route add default via ${bridge.prefix}.1 dev eth0\n`;
    return {
      before: `ip netns add ${name}\n`,
      after: `ip -n ${name} -batch - <<'EOF'
link set lo up
addr add ${containerIp(bridge, at)}/${bridge.length} brd + dev eth0
link set eth0 up
${route}EOF
`,
    };
  });
  const proxies = node.proxies
    ? bridge.published
        .filter((p) => p.proto === 'tcp')
        .map(
          (p) =>
            `/usr/sbin/docker-proxy -proto tcp -host-ip ${p.hostIp ?? '0.0.0.0'} -host-port ${p.hostPort} -container-ip ${containerIp(bridge, p.container)} -container-port ${p.port} 3>/dev/null </dev/null >/dev/null 2>&1 &\n`,
        )
    : [];
  return `echo 1 >/proc/sys/net/ipv4/ip_forward
${netns.map((n) => n.before).join('')}ip -batch - <<'EOF'
${lines.join('\n')}
EOF
${netns.map((n) => n.after).join('')}${proxies.join('')}`;
}

/** The rules of dockerd 20.10 for these bridges, as iptables-restore --noflush text; DOCKER chains first. */
export function dockerRules(bridges: readonly BridgePart[]): string {
  const nat: string[] = [];
  const post: string[] = [];
  const dnat: string[] = [];
  const docker: string[] = [];
  const forward: string[] = [];
  const one: string[] = [];
  const two: string[] = [];
  for (const bridge of bridges) {
    const { name } = bridge;
    if (bridge.internal) {
      one.push(`-A DOCKER-ISOLATION-STAGE-1 ! -s ${bridgeSubnet(bridge)} -o ${name} -j DROP`);
      one.push(`-A DOCKER-ISOLATION-STAGE-1 ! -d ${bridgeSubnet(bridge)} -i ${name} -j DROP`);
    } else {
      one.push(`-A DOCKER-ISOLATION-STAGE-1 -i ${name} ! -o ${name} -j DOCKER-ISOLATION-STAGE-2`);
      two.push(`-A DOCKER-ISOLATION-STAGE-2 -o ${name} -j DROP`);
      forward.push(
        `-A FORWARD -o ${name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        `-A FORWARD -o ${name} -j DOCKER`,
        `-A FORWARD -i ${name} ! -o ${name} -j ACCEPT`,
      );
      if (bridge.masquerade) post.push(`-A POSTROUTING -s ${bridgeSubnet(bridge)} ! -o ${name} -j MASQUERADE`);
      nat.push(`-A DOCKER -i ${name} -j RETURN`);
    }
    forward.push(`-A FORWARD -i ${name} -o ${name} -j ${bridge.icc ? 'ACCEPT' : 'DROP'}`);
    for (const p of bridge.internal ? [] : bridge.published) {
      const ip = containerIp(bridge, p.container);
      const at = p.hostIp === null ? '' : `-d ${p.hostIp}/32 `;
      dnat.push(
        `-A DOCKER ${at}! -i ${name} -p ${p.proto} -m ${p.proto} --dport ${p.hostPort} -j DNAT --to-destination ${ip}:${p.port}`,
      );
      docker.push(
        `-A DOCKER -d ${ip}/32 ! -i ${name} -o ${name} -p ${p.proto} -m ${p.proto} --dport ${p.port} -j ACCEPT`,
      );
      post.push(`-A POSTROUTING -s ${ip}/32 -d ${ip}/32 -p ${p.proto} -m ${p.proto} --dport ${p.port} -j MASQUERADE`);
    }
  }
  return `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
${[...forward, ...docker, ...one].join('\n')}
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
${[...two, '-A DOCKER-ISOLATION-STAGE-2 -j RETURN'].join('\n')}
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
${[...post, ...nat, ...dnat].join('\n')}
COMMIT
`;
}
