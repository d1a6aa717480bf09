import { shellWord } from '../core/shell.ts';
import { restartFlannel } from './flannel-remedy.ts';
import type { Step } from './step.ts';

/** flannel's overlay device is made anew with the MTU that flannel has now. */
export function remakeFlannelDevice(node: string, device: string, said: Pick<Step, 'step' | 'verify' | 'undo'>): Step {
  return {
    ...said,
    run: `ip link del ${shellWord(device)}; ${restartFlannel(node)}`,
    risk: 'Overlay traffic of the node stops for the seconds that the device is made anew.',
  };
}
