import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import { containerdInfo } from './cni-runtime.ts';
import type { Source } from './devices.ts';
import { setting } from './settings.ts';

/** What the runtime says of its network itself: the condition NetworkReady of `crictl info`. */
export interface NetworkReady {
  readonly ready: boolean;
  /** Why not, in its own words; '' where it gives none. */
  readonly message: string;
  readonly fact: Fact<'criInfo'>;
  readonly span: Span;
  /** The line of containerd's last try to load its configuration, when that failed. */
  readonly load: Span | null;
}

/** null: not collected, or of another runtime than the kubelet's. */
export function networkReady(source: Source<'criInfo'>, endpoint: string | null): NetworkReady | null {
  const fact = containerdInfo(source, endpoint) ?? crioInfo(source, endpoint);
  if (fact === null) return null;
  const type = fact.value.settings.find(
    (s) => /^status\.conditions\.\d+\.type$/.test(s.path) && s.value === 'NetworkReady',
  );
  if (type === undefined) return null;
  const of = type.path.slice(0, -'type'.length);
  const status = setting(fact.value, `${of}status`);
  if (typeof status?.value !== 'boolean') return null;
  const said = setting(fact.value, `${of}message`);
  const load = setting(fact.value, 'lastCNILoadStatus');
  const failed = load !== undefined && typeof load.value === 'string' && load.value !== 'OK' ? load : null;
  const text = failed?.value ?? said?.value;
  const oneLine = type.line === status.line;
  return {
    ready: status.value,
    message: typeof text === 'string' ? text : '',
    fact,
    span: oneLine ? status : { line: type.line, endLine: Math.max(status.line, said?.line ?? status.line) },
    load: failed,
  };
}

/** CRI-O says nothing of its socket there; containerd does. */
function crioInfo(source: Source<'criInfo'>, endpoint: string | null): Fact<'criInfo'> | null {
  const info = source.get('criInfo');
  if (info.missing || endpoint === null || !/crio\.sock$|^cri-o$/.test(endpoint)) return null;
  return setting(info.value, 'config.containerdEndpoint') === undefined ? info : null;
}
