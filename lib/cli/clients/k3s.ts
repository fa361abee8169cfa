import { type Client, isPlain } from './client.ts';

/** https://docs.k3s.io/installation/private-registry */
export const k3s: Client = ({ registry, hosts, exclusive }) => ({
  files: [
    {
      path: '/etc/rancher/k3s/registries.yaml',
      name: 'registries.yaml',
      // A JSON string is also valid in YAML.
      text: ['mirrors:', ...hosts.flatMap((host) => mirrorOf(host, registry.origin)), ''].join('\n'),
      hasComments: true,
    },
  ],
  notes: [
    'write the file on each node, and restart k3s; RKE2 reads the same file in /etc/rancher/rke2/',
    ...(exclusive
      ? [
          'k3s asks the archive only if it runs with --disable-default-registry-endpoint (k3s 1.26.13, 1.27.10, 1.28.6, 1.29.1 and newer)',
        ]
      : []),
    `if the archive requires a login, add configs with auth for "${registry.host}"` +
      (isPlain(registry) ? '; the password crosses the network in plain text' : ''),
  ],
});

function mirrorOf(host: string, origin: string): string[] {
  return [`  ${JSON.stringify(host)}:`, '    endpoint:', `      - ${JSON.stringify(origin)}`];
}
