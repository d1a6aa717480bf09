import type { Reason } from './doubt.ts';
import type { RealServer, VirtualServer } from './ipvs-table.ts';

/** One choice of a scheduler; `server` null: it finds none. */
export interface Choice {
  readonly server: RealServer | null;
  readonly share: number;
}

export interface Schedule {
  readonly choices: readonly Choice[];
  /** The shares are only how the choices are told apart: how many connections go where is not known. */
  readonly uneven: boolean;
}

/** They choose among all servers with a weight above 0, by loads or hashes that are not in the evidence. */
const BY_STATE = new Set(['lc', 'wlc', 'sed', 'nq', 'lblc', 'lblcr', 'mh', 'twos']);
/** They hash an address first, and may refuse a client whose server has weight 0. */
const BY_HASH = new Set(['sh', 'dh']);

/** Where a service's scheduler (net/netfilter/ipvs/ip_vs_rr.c and its like) may send a new connection. */
export function scheduleOf(service: VirtualServer): Schedule | Reason {
  const { scheduler, servers, persistent } = service;
  const usable = servers.filter((s) => s.weight > 0);
  if (usable.length === 0) return { choices: [{ server: null, share: 1 }], uneven: false };
  const [name = ''] = scheduler.split(' ');
  const even = (list: readonly RealServer[], uneven: boolean): Schedule => ({
    choices: list.map((server) => ({ server, share: 1 / list.length })),
    // where a client went before it goes again
    uneven: list.length > 1 && (uneven || persistent),
  });
  if (name === 'rr') return even(usable, false);
  if (name === 'wrr') {
    const sum = usable.reduce((n, s) => n + s.weight, 0);
    const choices = usable.map((server) => ({ server, share: server.weight / sum }));
    return { choices, uneven: persistent && choices.length > 1 };
  }
  if (name === 'fo') {
    const most = Math.max(...usable.map((s) => s.weight));
    return even(
      usable.filter((s) => s.weight === most),
      true,
    );
  }
  if (BY_STATE.has(name)) return even(usable, true);
  if (BY_HASH.has(name) && usable.length === servers.length) return even(usable, true);
  if (BY_HASH.has(name)) {
    const because = `whether the scheduler ${name} of the ipvs service ${service.name} refuses clients because of its server of weight 0 is not known`;
    return { because, evidence: [] };
  }
  return { because: `the scheduler ${name} of the ipvs service ${service.name} is not followed`, evidence: [] };
}
