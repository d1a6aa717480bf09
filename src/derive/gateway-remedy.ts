import { shellWord } from '../core/shell.ts';
import type { InterfaceAddress, LinkDevice } from '../facts/index.ts';
import type { Gateway } from './gateways.ts';
import type { Step } from './step.ts';

/** A gateway's address back on the bridge of its containers, from the device that has it now. `docker`: its daemon can do that as well. */
export function putBack(
  bridge: string,
  gateway: Gateway,
  now: { readonly on: LinkDevice; readonly moved: InterfaceAddress | undefined } | null,
  docker: boolean,
): readonly Step[] {
  const word = shellWord(bridge);
  const added = shellWord(`${gateway.address}/${gateway.bits ?? 24}`);
  const from =
    now?.moved === undefined
      ? null
      : { dev: shellWord(now.on.name), address: shellWord(`${now.moved.address}/${now.moved.prefixLength}`) };
  const put: Step = {
    step: `Put ${gateway.address} back on ${bridge}${now === null ? '' : `, and take it from ${now.on.name}`}.`,
    run: `${from === null ? '' : `ip addr del ${from.address} dev ${from.dev}; `}ip addr add ${added} brd + dev ${word}`,
    verify: `ip -4 addr show dev ${word}; ip -4 route show dev ${word}`,
    undo: `ip addr del ${added} dev ${word}${from === null ? '' : `; ip addr add ${from.address} dev ${from.dev}`}`,
    risk: 'Where the bridge was given a new range on purpose, make its containers anew instead: then they take the new gateway.',
  };
  if (!docker) return [put];
  return [
    put,
    {
      step: 'Or restart docker, which gives its bridges their addresses back.',
      run: 'systemctl restart docker',
      verify: `ip -4 addr show dev ${word}`,
      undo: 'none needed',
      risk: 'Without live-restore every container of the node restarts.',
    },
  ];
}
