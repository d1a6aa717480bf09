import { passDevice } from './device-hooks.ts';
import { whyDown } from './devices.ts';
import { end, type Frame, lost, type Run } from './run.ts';
import type { End, Way } from './way.ts';
import { bridgeOf, type Port } from './wire.ts';

const MAX_PASSED = 200;

/** A frame arrives at a device from its wire. */
export function receive(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device } = port;
  const { packet } = frame;
  if (way.passed > MAX_PASSED)
    return end(way, 'dropped', 'the packet goes round in a loop of bridges', space, packet, `link ${device.name}`, [
      device.cite,
    ]);
  const counted = { ...way, passed: way.passed + 1 };
  const down = whyDown(device);
  if (down !== null) return end(counted, 'dropped', down, space, packet, `link ${device.name}`, [device.cite]);
  return passDevice(counted, port, packet, 'ingress', (w) => arrive(run, w, port, frame));
}

function arrive(run: Run, way: Way, port: Port, frame: Frame): readonly End[] {
  const { space, device } = port;
  const bridge = bridgeOf(port);
  if (bridge !== null) return run.bridgeReceive(way, port, bridge, frame);
  if (device.master !== null) {
    const master = space.device(device.master);
    if (master !== undefined && (master.kind === 'bond' || master.kind === 'team'))
      return arrive(run, way, { space, device: master }, frame);
    return lost(
      way,
      { because: `${device.name} of ${space.label} belongs to ${device.master}, which is not followed`, evidence: [] },
      space,
      frame.packet,
      `link ${device.name}`,
    );
  }
  if (frame.mac !== null && device.mac !== null && device.kind !== 'lo' && frame.mac !== device.mac && !device.noArp) {
    const because = `the frame is for ${frame.mac}, ${device.name} is ${device.mac}`;
    return end(way, 'dropped', because, space, frame.packet, `mac ${device.name}`, [device.cite]);
  }
  return run.receivePacket(way, port, frame.packet, frame.inner, false);
}
