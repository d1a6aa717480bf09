// What the collector takes of both iptables backends, nft, ipset and conntrack.
import { iptablesSave } from './ruleset.mjs';

const EMPTY_NFT =
  '{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}]}\n';

export function firewallTexts(node) {
  const nft = node.options.backend === 'nft';
  const other = nft ? 'legacy' : 'nft';
  return {
    'host/fw/iptables-save.txt': iptablesSave(node),
    [`host/fw/iptables-${other}-save.txt`]: '',
    'host/fw/ip6tables-save.txt': '',
    [`host/fw/ip6tables-${other}-save.txt`]: '',
    'host/fw/iptables-version.txt': nft
      ? 'iptables v1.8.9 (nf_tables)\nip6tables v1.8.9 (nf_tables)\n/usr/sbin/xtables-nft-multi\n'
      : 'iptables v1.8.9 (legacy)\nip6tables v1.8.9 (legacy)\n/usr/sbin/xtables-legacy-multi\n',
    'host/fw/ip_tables_names.txt': nft ? '' : 'filter\nnat\nmangle\n',
    'host/fw/ip6_tables_names.txt': '',
    // the dumps of nft of an iptables-nft ruleset are not made up: such a node has no nft tool here
    ...(nft ? {} : { 'host/fw/nft.json': EMPTY_NFT, 'host/fw/nft.txt': '' }),
    'host/fw/ipset-save.txt': '',
  };
}
