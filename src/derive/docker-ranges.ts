import { formatPrefix, type Prefix, parsePrefix } from '../core/address.ts';
import { shellWord } from '../core/shell.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import { setInDaemonJson } from './daemon-json-edit.ts';
import type { Source } from './devices.ts';
import { flag, setting } from './settings.ts';
import type { Step } from './step.ts';

/**
 * Measured on dockerd 20.10: while a container runs on with live-restore, a restart leaves docker0 as it is; and without a "bip" dockerd keeps
 * the range that docker0 had last, even when docker0 was deleted, so that going back has to say it.
 */
const RESTART =
  'A restart of dockerd restarts containers. With live-restore on it does not: stop them first, because while any runs dockerd leaves docker0 as it is.';

/** Settings that move docker0 and, since its old range would be the first that docker gives away again, later networks too. */
const settingsFor = (bip: string, base: string) => ({ bip, 'default-address-pools': [{ base, size: 24 }] });

/** For a node of which nothing but the fault is known. */
export const MOVE_DOCKER: Step = {
  step: 'Move docker0 ("bip"), and the networks that docker will make ("default-address-pools"), to ranges that nobody else uses; user networks must be recreated.',
  ...setInDaemonJson(settingsFor('10.200.0.1/24', '10.201.0.0/16'), null, { bip: '<the address that docker0 had>' }),
  verify: 'ip -4 route   # one device a range: the LAN’s range names the uplink alone',
  risk: RESTART,
};

/** Where docker0's range is set, when it is. */
export function bipPlaces(
  source: Source<'daemonJson' | 'dockerdArgs'>,
): readonly { readonly fact: Fact<FactKind>; readonly span: Span }[] {
  const file = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const places = [
    { fact: file, span: file.missing ? undefined : setting(file.value, 'bip') },
    { fact: args, span: args.missing ? undefined : flag(args.value, 'bip') },
  ];
  return places.flatMap(({ fact, span }) => (fact.missing || span === undefined ? [] : [{ fact, span }]));
}

/** Moves docker0, which has the address `now`, to a range that is not `taken`; null: none is free. `verify` shows that the other network is reached again. */
export function moveDocker0(
  source: Source<'daemonJson' | 'dockerdArgs'>,
  now: string,
  taken: (prefix: Prefix) => boolean,
  verify: string,
): Step | null {
  const [range, pool] = free(200, 2, 16, taken);
  if (range === undefined || pool === undefined) return null;
  const bip = range.replace('.0.0/16', '.0.1/24');
  const shown = `ip -4 addr show docker0; ${verify}, docker0 has ${bip}`;
  const file = source.get('daemonJson');
  const args = source.get('dockerdArgs');
  const flagged = args.missing ? undefined : flag(args.value, 'bip')?.value;
  if (flagged !== undefined)
    return {
      step: `docker0 has its range from --bip=${flagged} on dockerd’s command line. Change it where that line is made, in the unit or in a file that it reads, to --bip=${bip}, and restart docker; with "bip" in daemon.json as well dockerd would refuse to start.`,
      run: 'systemctl cat docker | grep -n -e "--bip" -e EnvironmentFile',
      verify: shown,
      undo: `put ${shellWord(`--bip=${flagged}`)} back and restart docker`,
      risk: RESTART,
    };
  const set = !file.missing && setting(file.value, 'bip') !== undefined;
  const pools =
    (!args.missing && flag(args.value, 'default-address-pool') !== undefined) ||
    (!file.missing && setting(file.value, 'default-address-pools') !== undefined);
  const { bip: own, ...rest } = settingsFor(bip, pool);
  return {
    step: pools
      ? `Move docker0 from ${now} to ${bip}, a range that no route here has ("bip" in daemon.json; its other keys stay).`
      : `Move docker0 from ${now} to ${bip}, and the networks that docker will make to ${pool}, which no route here has ("bip" and "default-address-pools" in daemon.json; its other keys stay). Without pools the next network could get the old range again.`,
    ...setInDaemonJson(pools ? { bip: own } : { bip: own, ...rest }, source, set ? null : { bip: now }),
    verify: shown,
    risk: RESTART,
  };
}

/** Moves the containers of a network of docker's list to a new one; null: no range is free. */
export function moveNetwork(
  name: string,
  prefix: Prefix,
  taken: (prefix: Prefix) => boolean,
  verify: string,
): Step | null {
  const [range] = free(201, 1, 24, taken);
  if (range === undefined) return null;
  const [old, apart] = [shellWord(name), shellWord(`${name}-apart`)];
  const move = (from: string, to: string) =>
    `for c in $(docker network inspect -f '{{range .Containers}}{{.Name}} {{end}}' ${from}); do docker network connect ${to} $c && docker network disconnect ${from} $c; done`;
  return {
    step: `Move the containers of the docker network ${name} to one with a range that no route here has, then write that range into what creates ${name} (compose: ipam.config.subnet).`,
    run: `docker network create --subnet ${range} ${apart} && ${move(old, apart)}; docker network rm ${old}`,
    verify,
    undo: `docker network create --subnet ${formatPrefix(prefix)} ${old} && ${move(apart, old)}; docker network rm ${apart}`,
    risk: 'The containers get new addresses; connections to the old ones end.',
  };
}

/** So many ranges of `10.<first>.0.0` and above that are not taken. */
function free(first: number, count: number, length: number, taken: (prefix: Prefix) => boolean): readonly string[] {
  return Array.from({ length: 50 }, (_, i) => `10.${first + i}.0.0/${length}`)
    .filter((text) => {
      const wanted = parsePrefix(text);
      return wanted !== null && !taken(wanted);
    })
    .slice(0, count);
}
