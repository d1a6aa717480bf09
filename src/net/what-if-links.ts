import type { BridgePortAttributes, Fdb, InterfaceAddress, LinkDevice } from '../facts/index.ts';
import { parseAddr } from './addr.ts';
import type { AddressEdit, Draft, LinkEdit } from './what-if-changes.ts';
import { ChangeError } from './what-if-changes.ts';
import { addAddressRoutes, dropAddressRoutes, dropDeviceRoutes, sharesNet } from './what-if-routes.ts';

const LINK_KINDS = ['addresses', 'links', 'linksJson'] as const;

/** Everything that the evidence says of a device, in one. */
function deviceNamed(draft: Draft, name: string): LinkDevice {
  let found: LinkDevice | null = null;
  let any = false;
  for (const kind of LINK_KINDS) {
    const fact = draft.read(kind);
    any ||= fact !== null;
    const device = fact?.value.devices.find((d) => d.name === name);
    if (device !== undefined) found = found === null ? device : merged(found, device);
  }
  if (!any) draft.need('addresses', 'the devices');
  if (found === null) throw new ChangeError(`there is no device ${name} on ${draft.node}`);
  return found;
}

function merged(a: LinkDevice, b: LinkDevice): LinkDevice {
  const addresses = a.addresses.length > 0 ? a.addresses : b.addresses;
  return { ...b, ...a, addresses, flags: a.flags.length > 0 ? a.flags : b.flags };
}

export function hasDevice(draft: Draft, name: string): boolean {
  return LINK_KINDS.some((kind) => draft.read(kind)?.value.devices.some((d) => d.name === name) === true);
}

function editDevice(draft: Draft, name: string, edit: (device: LinkDevice) => LinkDevice): void {
  for (const kind of LINK_KINDS) {
    const fact = draft.read(kind);
    if (fact === null) continue;
    const devices = fact.value.devices.map((d) => (d.name === name ? edit(d) : d));
    draft.write(kind, { devices });
  }
}

/** The device's own line is the change's; its addresses keep theirs. */
const marked = (draft: Draft, device: LinkDevice, set: Partial<LinkDevice>): LinkDevice => ({
  ...device,
  ...set,
  line: draft.mark,
  endLine: draft.mark,
  col: undefined,
});

/** `ip link set`. */
export function changeLink(draft: Draft, { dev, mtu, up, master }: LinkEdit): void {
  const device = deviceNamed(draft, dev);
  if (master !== undefined) changeMaster(draft, device, master);
  if (mtu !== undefined) changeMtu(draft, device, mtu);
  if (up !== undefined && up !== device.flags.includes('UP')) changeState(draft, device, up);
}

function changeMtu(draft: Draft, device: LinkDevice, mtu: number): void {
  if (device.master !== undefined && device.mtu !== mtu && /^(bridge|)$/.test(kindOf(draft, device.master)))
    throw new ChangeError(
      `${device.name} is a port of ${device.master}, and whether the MTU of ${device.master} follows it is not in the evidence`,
    );
  if (mtu < 1280 && device.addresses.some((a) => a.family === 6))
    throw new ChangeError(`an MTU of ${mtu} takes IPv6 from ${device.name}: that is not modelled`);
  if (mtu < 68) throw new ChangeError(`an MTU of ${mtu} takes IP from ${device.name}: that is not modelled`);
  const lower = device.vxlan?.dev === undefined ? undefined : deviceNamed(draft, device.vxlan.dev).mtu;
  if (lower !== undefined && mtu > lower - 50)
    throw new ChangeError(
      `the kernel refuses an MTU of ${mtu} for ${device.name}: its lower device ${device.vxlan?.dev} has ${lower}`,
    );
  editDevice(draft, device.name, (d) => marked(draft, d, { mtu }));
}

const kindOf = (draft: Draft, name: string) => (hasDevice(draft, name) ? (deviceNamed(draft, name).kind ?? '') : '');

function changeState(draft: Draft, device: LinkDevice, up: boolean): void {
  const others = (d: LinkDevice) => d.flags.filter((f) => f !== 'UP' && f !== 'LOWER_UP');
  const ports = portsOf(draft, device.name);
  if (up) {
    editDevice(draft, device.name, (d) => marked(draft, d, { flags: [...others(d), 'UP', 'LOWER_UP'], state: 'UP' }));
    for (const p of [...ports, ...(device.master === undefined ? [] : [device])])
      if (p === device || p.flags.includes('UP')) changePort(draft, p.name, { state: 'forwarding' });
    for (const a of device.addresses) if (a.family === 4) addAddressRoutes(draft, device, a, true);
    return;
  }
  // the kernel takes IPv6 addresses from a device that goes down, IPv4 addresses stay
  editDevice(draft, device.name, (d) =>
    marked(draft, d, { flags: others(d), state: 'DOWN', addresses: d.addresses.filter((a) => a.family === 4) }),
  );
  for (const p of [...ports, ...(device.master === undefined ? [] : [device])])
    changePort(draft, p.name, { state: 'disabled' });
  dropNeighbours(draft, device.name, null);
  dropDeviceRoutes(draft, device.name, 4, false);
  dropDeviceRoutes(draft, device.name, 6, true);
}

/** A device without IP forgets its neighbours, permanent ones too. */
function dropNeighbours(draft: Draft, dev: string, family: 4 | 6 | null): void {
  const fact = draft.read('neighbours');
  const gone = (ip: string) => family === null || ip.includes(':') === (family === 6);
  if (fact !== null)
    draft.write('neighbours', { entries: fact.value.entries.filter((e) => e.dev !== dev || !gone(e.ip)) });
}

function portsOf(draft: Draft, bridge: string): readonly LinkDevice[] {
  const names = new Set(
    LINK_KINDS.flatMap((kind) =>
      (draft.read(kind)?.value.devices ?? []).filter((d) => d.master === bridge).map((d) => d.name),
    ),
  );
  return [...names].map((name) => deviceNamed(draft, name));
}

function changeMaster(draft: Draft, device: LinkDevice, master: string | null): void {
  if (master === null) {
    if (device.master === undefined) return;
    const left = portsOf(draft, device.master).filter((p) => p.name !== device.name);
    readdress(draft, device.master, [device, ...left], left);
    editDevice(draft, device.name, (d) => {
      const { master: _m, port: _p, ...free } = marked(draft, d, {});
      return free;
    });
    const ports = draft.read('bridgePorts');
    if (ports !== null) draft.write('bridgePorts', { ports: ports.value.ports.filter((p) => p.name !== device.name) });
    writeFdb(draft, (entries) => entries.filter((e) => e.dev !== device.name || e.self));
    const sysfs = draft.read('sysfs');
    if (sysfs !== null)
      draft.write('sysfs', {
        entries: sysfs.value.entries.filter((e) => e.dev !== device.name || !e.attr.startsWith('brport/')),
      });
    return;
  }
  const bridge = deviceNamed(draft, master);
  if (bridge.kind !== undefined && bridge.kind !== 'bridge')
    throw new ChangeError(`${master} on ${draft.node} is no bridge but ${bridge.kind}: that is not modelled`);
  if (device.master !== undefined && device.master !== master) changeMaster(draft, device, null);
  if (bridge.mtu !== device.mtu)
    throw new ChangeError(
      `${device.name} has MTU ${device.mtu ?? '?'} and ${master} ${bridge.mtu ?? '?'}: whether the bridge's follows is not in the evidence`,
    );
  const before = portsOf(draft, master);
  readdress(draft, master, before, [...before, device]);
  editDevice(draft, device.name, (d) => marked(draft, d, { master }));
  const ports = draft.read('bridgePorts');
  if (ports !== null)
    draft.write('bridgePorts', {
      ports: [
        ...ports.value.ports.filter((p) => p.name !== device.name),
        { name: device.name, ifindex: device.ifindex, master, line: draft.mark },
      ],
    });
  const { mac } = device;
  if (mac !== undefined)
    writeFdb(draft, (entries) => [
      ...entries.filter((e) => e.dev !== device.name || e.self),
      { mac, dev: device.name, master, self: false, permanent: true, state: 'permanent', line: draft.mark },
    ]);
  const up = device.flags.includes('UP') && bridge.flags.includes('UP');
  changePort(draft, device.name, {
    state: up ? 'forwarding' : 'disabled',
    hairpin: false,
    isolated: false,
    learning: true,
    flood: true,
  });
}

function writeFdb(draft: Draft, edit: (entries: Fdb['entries']) => Fdb['entries']): void {
  const fact = draft.read('fdb');
  if (fact !== null) draft.write('fdb', { entries: edit(fact.value.entries) });
}

/** A bridge whose address nobody set has the lowest of its ports'. */
function readdress(draft: Draft, bridge: string, before: readonly LinkDevice[], after: readonly LinkDevice[]): void {
  const lowest = (ports: readonly LinkDevice[]) => ports.flatMap((p) => p.mac ?? []).sort()[0];
  const own = deviceNamed(draft, bridge).mac;
  if (before.length > 0 && own !== lowest(before)) return;
  const mac = lowest(after) ?? '00:00:00:00:00:00';
  if (mac !== own) editDevice(draft, bridge, (d) => marked(draft, d, { mac }));
}

const STATES = ['disabled', 'listening', 'learning', 'forwarding', 'blocking'];

/** `bridge link set`, in every form in which the evidence may have a port's attributes. */
export function changePort(draft: Draft, dev: string, set: BridgePortAttributes): void {
  if (deviceNamed(draft, dev).master === undefined) throw new ChangeError(`${dev} on ${draft.node} is no bridge port`);
  // only where the form prints port attributes: a part of them in another form would hide the rest
  const printed = (['links', 'linksJson'] as const).filter((kind) => draft.read(kind) !== null);
  const elsewhere = draft.read('bridgePorts') !== null || draft.read('sysfs') !== null;
  for (const kind of printed.length > 0 ? printed : elsewhere ? [] : (['addresses'] as const)) {
    const devices = draft.read(kind)?.value.devices ?? [];
    draft.write(kind, {
      devices: devices.map((d) => (d.name === dev ? marked(draft, d, { port: { ...d.port, ...set } }) : d)),
    });
  }
  // a port that is disabled forgets whom it has heard
  if (set.state === 'disabled')
    writeFdb(draft, (entries) => entries.filter((e) => e.dev !== dev || e.self || e.permanent || e.state === 'static'));
  const ports = draft.read('bridgePorts');
  if (ports !== null)
    draft.write('bridgePorts', {
      ports: ports.value.ports.map((p) =>
        p.name === dev ? { ...p, ...set, line: draft.mark, endLine: undefined } : p,
      ),
    });
  const sysfs = draft.read('sysfs');
  if (sysfs === null) return;
  const flag = (on: boolean | undefined) => (on === undefined ? undefined : on ? '1' : '0');
  const files: Readonly<Record<string, string | undefined>> = {
    'brport/state': set.state === undefined ? undefined : String(STATES.indexOf(set.state)),
    'brport/hairpin_mode': flag(set.hairpin),
    'brport/isolated': flag(set.isolated),
    'brport/learning': flag(set.learning),
    'brport/unicast_flood': flag(set.flood),
  };
  const kept = sysfs.value.entries.filter((e) => e.dev !== dev || files[e.attr] === undefined);
  const made = Object.entries(files).flatMap(([attr, value]) =>
    value === undefined ? [] : [{ dev, attr, value, line: draft.mark }],
  );
  draft.write('sysfs', { entries: [...kept, ...made] });
}

/** `ip addr`, with the routes that come and go with an address. */
export function changeAddress(draft: Draft, edit: AddressEdit): void {
  const device = deviceNamed(draft, edit.dev);
  const same = (a: InterfaceAddress) =>
    parseAddr(a.address) === parseAddr(edit.address) && a.prefixLength === edit.prefixLength;
  const there = device.addresses.find(same);
  const written = `${edit.address}/${edit.prefixLength}`;
  if (edit.op === 'del') {
    if (there === undefined) throw new ChangeError(`${edit.dev} of ${draft.node} has no address ${written}`);
    removeAddress(draft, device, there);
    return;
  }
  if (there !== undefined) {
    if (edit.op === 'replace') return;
    throw new ChangeError(`${edit.dev} of ${draft.node} has ${written} already: ip addr add is refused`);
  }
  const added: InterfaceAddress = {
    family: edit.family,
    address: edit.address,
    prefixLength: edit.prefixLength,
    scope: edit.scope,
    ...(edit.family === 4 ? { label: edit.dev } : {}),
    secondary: edit.family === 4 && device.addresses.some((a) => !a.secondary && sharesNet(a, edit)),
    line: draft.mark,
  };
  editDevice(draft, edit.dev, (d) =>
    d.addresses.length > 0 || device.addresses.length === 0 ? { ...d, addresses: placed(d.addresses, added) } : d,
  );
  addAddressRoutes(draft, device, added, edit.prefixRoute);
}

/** A new IPv4 address stands last; a new IPv6 one in front of those of its scope, which is where the kernel looks for a source first. */
function placed(addresses: readonly InterfaceAddress[], added: InterfaceAddress): readonly InterfaceAddress[] {
  const at = addresses.findIndex((a) => a.family === 6 && (a.scope === added.scope || added.scope === 'global'));
  return added.family === 4 || at < 0
    ? [...addresses, added]
    : [...addresses.slice(0, at), added, ...addresses.slice(at)];
}

function removeAddress(draft: Draft, device: LinkDevice, address: InterfaceAddress): void {
  const followers = address.secondary
    ? []
    : device.addresses.filter((a) => a.secondary && a !== address && sharesNet(a, address));
  let gone = [address];
  let promoted: InterfaceAddress | undefined;
  if (followers.length > 0) {
    const [all, own] = ['all', device.name].map((d) => settingOf(draft, `net/ipv4/conf/${d}/promote_secondaries`));
    if (all === undefined || own === undefined)
      throw new ChangeError(
        `${address.address} has secondary addresses, and whether they go with it (promote_secondaries of ${device.name}) was not collected`,
      );
    if (all === '1' || own === '1') promoted = followers[0];
    else gone = [address, ...followers];
  }
  const left = device.addresses
    .filter((a) => !gone.includes(a))
    .map((a) => (a === promoted ? { ...a, secondary: false, line: draft.mark } : a));
  editDevice(draft, device.name, (d) => (d.addresses.length === 0 ? d : { ...d, addresses: left }));
  if (!left.some((a) => a.family === address.family)) {
    dropDeviceRoutes(draft, device.name, address.family, true);
    dropNeighbours(draft, device.name, address.family);
  } else for (const a of gone) dropAddressRoutes(draft, device.name, a, left);
  if (promoted !== undefined)
    addAddressRoutes(draft, device, { ...promoted, secondary: false, line: draft.mark }, true);
}

function settingOf(draft: Draft, key: string): string | undefined {
  return draft.read('sysctl')?.value.values.find((v) => v.key === key)?.value;
}
