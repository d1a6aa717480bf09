import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { KNOWN_KEYS } from './daemon-json-keys.ts';
import { setting } from './settings.ts';

type Type = Setting['type'];

/** Types below the top level, as moby's config structs have them; each was measured on dockerd 20.10.24 but those that are newer. */
const SHAPES: readonly (readonly [path: RegExp, type: Type])[] = [
  [/^log-opts\.[^.]+$/, 'string'],
  [/^features\.[^.]+$/, 'boolean'],
  [/^default-ulimits\.[^.]+$/, 'object'],
  [/^default-ulimits\.[^.]+\.(Hard|Soft)$/i, 'number'],
  [/^runtimes\.[^.]+$/, 'object'],
  [/^runtimes\.[^.]+\.(path|runtimeType)$/i, 'string'],
  [/^runtimes\.[^.]+\.runtimeArgs$/i, 'array'],
  [/^runtimes\.[^.]+\.runtimeArgs\.\d+$/i, 'string'],
  [/^default-ulimits\.[^.]+\.Name$/i, 'string'],
  [/^cluster-store-opts\.[^.]+$/, 'string'],
  [/^builder\.gc$/i, 'object'],
  [/^builder\.gc\.enabled$/i, 'boolean'],
  [/^builder\.gc\.defaultKeepStorage$/i, 'string'],
  [/^builder\.gc\.policy$/i, 'array'],
  [/^builder\.gc\.policy\.\d+$/i, 'object'],
  [/^builder\.gc\.policy\.\d+\.all$/i, 'boolean'],
  [/^builder\.gc\.policy\.\d+\.keepStorage$/i, 'string'],
  [/^builder\.entitlements\.(network-host|security-insecure)$/i, 'boolean'],
  [/^default-address-pools\.\d+$/, 'object'],
  [/^default-address-pools\.\d+\.base$/i, 'string'],
  [/^default-address-pools\.\d+\.size$/i, 'number'],
  [/^proxies\.[^.]+$/, 'string'],
];

/** Values inside objects and lists that have another type than dockerd reads there. */
export function daemonJsonShapeFaults(value: JsonSettings, at: At): Fault[] {
  return value.settings.flatMap((s) => {
    const top = s.path.split('.')[0] ?? '';
    // one word on the whole is enough
    if (setting(value, top)?.type !== KNOWN_KEYS.get(top)) return [];
    const list = /^([^.]+)\.\d+$/.exec(s.path)?.[1] ?? '';
    const wanted =
      SHAPES.find(([path]) => path.test(s.path))?.[1] ??
      (KNOWN_KEYS.get(list) === 'array' && list !== 'default-address-pools' ? 'string' : s.type);
    if (s.type === wanted || s.type === 'null') return [];
    const reason = `"${s.path}" must be ${wanted === 'object' || wanted === 'array' ? 'an' : 'a'} ${wanted}, it is ${s.type}`;
    return [{ key: `type ${s.path}`, reason, at: at(s), sure: true }];
  });
}
