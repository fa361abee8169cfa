import { type Client, type ClientOptions, inNames, isPlain } from './client.ts';

/** https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md */
export const podman: Client = (options) => ({
  files: [
    {
      path: '/etc/containers/registries.conf.d/50-mirror-sync.conf',
      name: '50-mirror-sync.conf',
      text: options.hosts.map((host) => sectionOf(host, options)).join('\n'),
      hasComments: true,
    },
  ],
  notes: [
    'podman, Buildah, skopeo and CRI-O read this file; for one user it belongs into $HOME/.config/containers/registries.conf.d/',
    'a file in registries.conf.d must not set unqualified-search-registries, which would replace those of the system',
    `if the archive requires a login: podman login ${options.registry.host}`,
  ],
});

function sectionOf(host: string, { registry, exclusive }: ClientOptions): string {
  const location = `location = "${registry.host}/${inNames(host)}"`;
  const lines = exclusive
    ? ['[[registry]]', `prefix = "${host}"`, location]
    : ['[[registry]]', `location = "${host}"`, '', '[[registry.mirror]]', location];
  return [...lines, ...(isPlain(registry) ? ['insecure = true'] : []), ''].join('\n');
}
