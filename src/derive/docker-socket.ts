import { isNonEmpty, type NonEmpty } from '../core/span.ts';
import type { DockerContainers, DockerSocket, DockerSocketMounts, Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';

export type DockerSocketKinds = 'dockerSocket' | 'dockerSocketMounts' | 'dockerContainers';

type Socket = DockerSocket['sockets'][number];
type Mount = DockerSocketMounts['mounts'][number];
type Process = DockerSocketMounts['processes'][number];

/** A socket that everybody on the node may connect to. */
export interface OpenSocket {
  readonly socket: Socket;
  readonly told: NonEmpty<Told>;
}

/** A running container with the API's socket among its mounts, and a process in it that may connect. */
export interface SocketHolder {
  readonly id: string;
  readonly mount: Mount;
  readonly process: Process;
  /** The inode was compared, and no security profile of the node's own may keep the process off. */
  readonly sure: boolean;
  /** What docker knows of it; of another runtime's container nothing. */
  readonly container?: DockerContainers['containers'][number];
  readonly told: NonEmpty<Told>;
}

export interface SocketAnswer {
  readonly open: readonly OpenSocket[];
  readonly holders: readonly SocketHolder[];
  readonly questions: readonly { readonly because: string; readonly evidence: readonly string[] }[];
  /** Modes that keep others out, mounts that nobody in there can use, and that there are no more. */
  readonly proofs: readonly Told[];
  /** Facts that were read whole: what they do not hold is not there. */
  readonly whole: { readonly modes: Fact<'dockerSocket'> | null; readonly mounts: Fact<'dockerSocketMounts'> | null };
}

/**
 * Who can connect to docker's unix sockets besides root and their group. The kernel asks for write permission on the socket and search
 * permission above it (unix(7), path_resolution(7)), tried on 6.x with dockerd 20.10: 0662 lets everybody in, 0664 nobody; a read-only
 * mount keeps nobody out (`test/lab`). null: no such socket listens here.
 */
export function socketAnswer(source: Source<DockerSocketKinds>): SocketAnswer | null {
  const fact = source.get('dockerSocket');
  const nothing = { open: [], holders: [], proofs: [], whole: { modes: null, mounts: null } };
  if (fact.missing) {
    if (fact.because.startsWith('absent')) return null;
    const because = `who may connect to docker’s unix socket, and which containers have it, was not collected (docker.socket: ${fact.because})`;
    return { ...nothing, questions: [{ because, evidence: ['docker.socket', 'docker.socket-mounts'] }] };
  }
  const questions: { because: string; evidence: string[] }[] = [];
  const live = fact.value.sockets.filter((s) => s.listening);
  const hidden = fact.value.denied.map((d) => d.path);
  if (hidden.length > 0 || !fact.closed) {
    const which = hidden.length > 0 ? ` (${hidden.join(', ')})` : '';
    questions.push({ because: `docker’s unix sockets were not all looked at${which}`, evidence: ['docker.socket'] });
  }
  if (live.length === 0 && questions.length === 0) return null;
  const open = live.flatMap((s) => openSocket(fact, s) ?? []);
  const shut = live.filter((s) => !open.some((o) => o.socket === s)).map((s) => ({ fact, span: s }));
  const mounted = holdersOf(source, live);
  questions.push(...mounted.questions);
  return {
    open,
    holders: mounted.holders,
    questions,
    proofs: [...shut, ...mounted.proofs],
    whole: { modes: fact.closed ? fact : null, mounts: mounted.whole },
  };
}

/** null: others may not write to it, or not get to it. */
function openSocket(fact: Fact<'dockerSocket'>, socket: Socket): OpenSocket | null {
  if (socket.mode[8] !== 'w') return null;
  const above = fact.value.directories.filter((d) => d.path === '/' || socket.path.startsWith(`${d.path}/`));
  if (above.some((d) => !/[xt]/.test(d.mode[9] ?? ''))) return null;
  const nearest = above.toSorted((a, b) => b.path.length - a.path.length).slice(0, 1);
  return { socket, told: [{ fact, span: socket }, ...nearest.map((span) => ({ fact, span }))] };
}

function holdersOf(source: Source<DockerSocketKinds>, live: readonly Socket[]) {
  const fact = source.get('dockerSocketMounts');
  const holders: SocketHolder[] = [];
  const proofs: Told[] = [];
  const questions: { because: string; evidence: string[] }[] = [];
  const evidence = ['docker.socket-mounts'];
  if (fact.missing) {
    const because = `which containers have docker’s socket was not collected (docker.socket-mounts: ${fact.because})`;
    return { holders, proofs, questions: [{ because, evidence }], whole: null };
  }
  const unread = fact.value.looked?.unread;
  if (!fact.closed || unread !== 0) {
    const because = `which containers have docker’s socket was not looked at in full${unread ? ` (${unread} processes could not be read)` : ''}`;
    questions.push({ because, evidence });
  }
  const { selinuxEnforcing } = fact.value;
  for (const [id, mounts] of Map.groupBy(fact.value.mounts, (m) => m.container)) {
    const usable = mounts.filter((m) => m.same !== false && live.some((s) => s.path === m.host));
    const people = fact.value.processes.filter((p) => p.container === id);
    const tries = usable.flatMap((mount) => {
      const socket = live.find((s) => s.path === mount.host);
      return socket === undefined
        ? []
        : people.map((process) => ({ mount, process, may: mayConnect(process, socket, selinuxEnforcing?.value) }));
    });
    const best = tries.find((t) => t.may === 'yes') ?? tries.find((t) => t.may === 'profile');
    const doubt = tries.find((t) => t.may === 'unknown');
    const told = (t: { mount: Mount; process: Process }): NonEmpty<Told> => [
      { fact, span: t.mount },
      { fact, span: t.process },
    ];
    if (best !== undefined) {
      const container = knownTo(source, id, best.mount.pid);
      const sure = best.may === 'yes' && best.mount.same === true;
      const named = container === undefined ? {} : { container };
      holders.push({ id, ...best, sure, ...named, told: told(best) });
    } else if (doubt !== undefined) {
      const name = knownTo(source, id, doubt.mount.pid)?.name ?? id.slice(0, 12);
      const why = `whether container ${name}, which has docker’s socket mounted, may connect to it depends on a policy that is not collected (label ${doubt.process.label ?? 'unknown'}, access control list)`;
      questions.push({ because: why, evidence: [] });
    } else if (usable.length > 0 && people.length === 0) {
      const name = knownTo(source, id, usable[0]?.pid ?? 0)?.name ?? id.slice(0, 12);
      questions.push({
        because: `container ${name} has docker’s socket mounted, who runs in it was not read`,
        evidence,
      });
    } else if (isNonEmpty(tries)) proofs.push(...told(tries[0]));
    // an older socket, or something on top of it
    else proofs.push(...mounts.map((span) => ({ fact, span })));
  }
  return { holders, proofs, questions, whole: fact.closed && unread === 0 ? fact : null };
}

/** By the id in its cgroup, or the pid of its first process. */
function knownTo(source: Source<'dockerContainers'>, id: string, pid: number) {
  const fact = source.get('dockerContainers');
  if (fact.missing) return undefined;
  return fact.value.containers.find((c) => c.id === id) ?? fact.value.containers.find((c) => c.pid === pid);
}

/** CAP_DAC_OVERRIDE is bit 1 (linux/capability.h). */
const overrides = (caps: string) => (Number.parseInt(caps.slice(-1), 16) & 2) !== 0;

/** Domains of container-selinux that may connect to the daemon's socket; the usual container_t may not. */
const SELINUX_FREE =
  /:(spc_t|unconfined_t|unconfined_service_t|container_runtime_t|docker_t|initrc_t|init_t|kernel_t):/;
/** AppArmor's profiles of container runtimes do not keep anyone off a mounted socket. */
const APPARMOR_USUAL =
  /^(unconfined|(docker-default|cri-containerd\.apparmor\.d|crio-default|containers-default-[\w.-]+)_\((enforce|complain)\))$/;

/** As the kernel checks: the first class that fits decides, unless the capability overrides. `profile`: another profile may say no. */
function mayConnect(
  process: Process,
  socket: Socket,
  enforcing: boolean | undefined,
): 'yes' | 'profile' | 'unknown' | 'no' {
  const inGroup = process.gid === socket.gid || process.groups.includes(socket.gid);
  const bit = process.uid === socket.uid ? 2 : inGroup ? 5 : 8;
  // capabilities of another user namespace do not reach files of this one
  const allowed = socket.mode[bit] === 'w' || (process.hostUsers !== false && overrides(process.caps));
  if (!allowed) return socket.mode[10] === '+' ? 'unknown' : 'no';
  const { label } = process;
  if (label === undefined) return process.hostUsers === undefined ? 'profile' : 'yes';
  if (/^[^:]+:[^:]+:[^:]+:/.test(label)) return enforcing === false || SELINUX_FREE.test(label) ? 'yes' : 'unknown';
  return APPARMOR_USUAL.test(label) ? 'yes' : 'profile';
}
