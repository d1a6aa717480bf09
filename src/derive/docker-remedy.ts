import { shellWord } from '../core/shell.ts';
import type { Source } from './devices.ts';
import type { DockerDaemonKinds } from './docker-daemon.ts';
import type { RuledPort } from './docker-published.ts';
import { setting } from './settings.ts';
import type { Step } from './step.ts';

type Iptables = 'iptables' | 'iptables-legacy' | 'iptables-nft';

/** dockerd writes its rules again. `nft`: not with iptables. */
export function restartDocker(
  source: Source<DockerDaemonKinds> | null,
  iptables: Iptables,
  nft = false,
): Omit<Step, 'undo'> {
  const info = source?.get('dockerInfo');
  const args = source?.get('dockerdArgs');
  const snap = args?.missing === false && args.value.processes.some((p) => p.argv[0]?.text.startsWith('/snap/'));
  const live = info === undefined || info.missing ? undefined : setting(info.value, 'LiveRestoreEnabled')?.value;
  const stops = 'and starts only those again that have a restart policy';
  const containers =
    live === true
      ? 'Containers run on, because live-restore is on.'
      : live === false
        ? `Stops every container (live-restore is off), ${stops}.`
        : `Stops every container, ${stops}; with live-restore on they run on.`;
  return {
    step: 'Restart dockerd: it writes all its rules again, those of published ports included.',
    run: snap ? 'snap restart docker' : 'systemctl restart docker',
    verify: nft
      ? 'nft list table ip docker-bridges'
      : `${iptables} -S FORWARD | grep DOCKER; ${iptables} -t nat -S PREROUTING | grep DOCKER`,
    // dockerd sets it to DROP only when it turns forwarding on itself
    risk: nft ? containers : `${containers} The policy of FORWARD stays as it is now.`,
  };
}

/** Measured on 20.10: with live-restore on, a restart does not put the jump to DOCKER-USER back; the first network that is made does. */
export function userRules(iptables: Iptables): Step {
  return {
    step: 'Load your own rules again, those of DOCKER-USER too: dockerd does not know them. After a restart with live-restore on, see that FORWARD still leads there.',
    run: `${iptables} -N DOCKER-USER 2>/dev/null; ${iptables} -C FORWARD -j DOCKER-USER 2>/dev/null || ${iptables} -I FORWARD -j DOCKER-USER`,
    verify: `${iptables} -S FORWARD | grep DOCKER-USER; ${iptables} -S DOCKER-USER`,
    undo: `${iptables} -D FORWARD -j DOCKER-USER`,
    risk: 'What the rules in DOCKER-USER drop is dropped from then on.',
  };
}

/** dockerd writes the rules of a container's ports when it starts it (measured on 20.10). `iptables` null: not with iptables. */
export function restartContainers(ports: readonly RuledPort[], iptables: Iptables | null): Omit<Step, 'undo'> {
  const names = [...new Set(ports.map((p) => p.container))];
  const [first] = ports;
  return {
    step: 'Restart these containers: dockerd writes the rules of their ports again.',
    run: `docker restart ${names.map(shellWord).join(' ')}`,
    verify:
      iptables === null || first === undefined
        ? 'nft list table ip docker-bridges'
        : `${iptables} -t nat -S DOCKER | grep -e '--dport ${first.hostPort} '; ${iptables} -S DOCKER | grep -e '--dport ${first.containerPort} '`,
    risk: 'Stops these containers and starts them again.',
  };
}
