/** The configuration of client programs, as files to print or to write. */
import { type Failure, invalid } from '../core/failure.ts';
import { requestName } from '../serve/names.ts';

interface ClientOptions {
  /** The address of the served archive, without a path: `https://mirror.example.com`. */
  readonly registry: URL;
  /** The registries whose images the client pulls through the archive: `docker.io`. */
  readonly hosts: readonly string[];
  /** Whether the client must not continue with the registry itself. */
  readonly exclusive: boolean;
  /** Repositories whose policy withholds images, each with the settings that do so: the reason for `exclusive`. */
  readonly withheld: ReadonlyMap<string, string>;
}

export interface ConfigFile {
  /** Where the client reads it: `/etc/docker/daemon.json`. */
  readonly path: string;
  /** Its path below `--output`. */
  readonly name: string;
  readonly text: string;
  /** Whether the format has comments. */
  readonly hasComments: boolean;
}

interface ClientConfig {
  readonly files: readonly ConfigFile[];
  /** Limits and further steps for the operator, a sentence each. */
  readonly notes: readonly string[];
}

export type Client = (options: ClientOptions) => ClientConfig;

const CONTAINERD_FOLDER = '/etc/containerd/certs.d';

/** https://github.com/containerd/containerd/blob/main/docs/hosts.md */
const containerd: Client = ({ registry: { origin }, hosts, exclusive }) => ({
  files: hosts.map((host): ConfigFile => {
    const name = `${host}/hosts.toml`;
    const text = containerdText(origin, exclusive ? origin : containerdUpstream(host));
    return { path: `${CONTAINERD_FOLDER}/${name}`, name, text, hasComments: true };
  }),
  notes: [
    `containerd reads these files if config_path is "${CONTAINERD_FOLDER}" in /etc/containerd/config.toml, in containerd 1.6 in the section ` +
      '[plugins."io.containerd.grpc.v1.cri".registry]; restart it after a change of config.toml only',
    `ctr reads them with ctr images pull --hosts-dir ${CONTAINERD_FOLDER}`,
    'if the archive requires a login, add a section [host."…".header] with Authorization = "Basic …" (docs/serve.md)',
  ],
});

/**
 * `resolve` lets the archive decide what a tag means. The server is asked last. containerd 1.6 ignores a file without a section
 * for a host, and asks the registry itself, so an exclusive file names the archive twice.
 */
function containerdText(origin: string, server: string): string {
  return `server = "${server}"\n\n[host."${origin}"]\n  capabilities = ["pull", "resolve"]\n`;
}

/** As containerd without a file: Docker Hub has another host in references, and a registry on this machine needs no TLS. */
function containerdUpstream(host: string): string {
  if (host === 'docker.io') return 'https://registry-1.docker.io';
  return `${/^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(host) ? 'http' : 'https'}://${host}`;
}

/** https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file */
export const docker: Client = ({ registry, hosts, exclusive, withheld }) => {
  const { origin, host } = registry;
  if (exclusive) throw noExclusiveDocker(withheld);
  const settings = {
    'registry-mirrors': [origin],
    // For images that are pulled by the name of the archive.
    ...(isPlain(registry) ? { 'insecure-registries': [host] } : {}),
  };
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  const other = hosts.find((each) => each !== 'docker.io');
  return {
    files: [{ path: '/etc/docker/daemon.json', name: 'daemon.json', text, hasComments: false }],
    notes: [
      'add these settings to an existing daemon.json, and reload dockerd (systemctl reload docker)',
      'registry-mirrors covers docker.io only, and takes no path' +
        (other === undefined
          ? ''
          : `; pull images of other registries by name, as in docker pull ${host}/${inNames(other)}/…`),
      'dockerd sends a mirror neither the host nor credentials: start mirror-sync serve with --default-host docker.io and without --htpasswd',
      ...(hosts.includes('docker.io') ? [] : ['the archive has no image of docker.io']),
    ],
  };
};

function noExclusiveDocker(withheld: ReadonlyMap<string, string>): Failure {
  const problem = 'dockerd asks Docker Hub for an image that its mirror lacks';
  const [first] = withheld;
  return first === undefined
    ? invalid('print exclusive files for docker', `${problem}; block Docker Hub in the network instead`)
    : invalid(
        'print files for docker',
        `${problem}, and the policy of ${first[0]} withholds images (${first[1]}); block Docker Hub in the network, and leave ARCHIVE out`,
      );
}

/** https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md */
const podman: Client = (options) => ({
  files: [
    {
      path: '/etc/containers/registries.conf.d/50-mirror-sync.conf',
      name: '50-mirror-sync.conf',
      text: options.hosts.map((host) => podmanSection(host, options)).join('\n'),
      hasComments: true,
    },
  ],
  notes: [
    'podman, Buildah, skopeo and CRI-O read this file; for one user it belongs into $HOME/.config/containers/registries.conf.d/',
    'a file in registries.conf.d must not set unqualified-search-registries, which would replace those of the system',
    `if the archive requires a login: podman login ${options.registry.host}`,
  ],
});

function podmanSection(host: string, { registry, exclusive }: ClientOptions): string {
  const location = `location = "${registry.host}/${inNames(host)}"`;
  const lines = exclusive
    ? ['[[registry]]', `prefix = "${host}"`, location]
    : ['[[registry]]', `location = "${host}"`, '', '[[registry.mirror]]', location];
  return [...lines, ...(isPlain(registry) ? ['insecure = true'] : []), ''].join('\n');
}

/** https://docs.k3s.io/installation/private-registry */
const k3s: Client = ({ registry, hosts, exclusive }) => ({
  files: [
    {
      path: '/etc/rancher/k3s/registries.yaml',
      name: 'registries.yaml',
      // A JSON string is also valid in YAML.
      text: ['mirrors:', ...hosts.flatMap((host) => k3sMirror(host, registry.origin)), ''].join('\n'),
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

function k3sMirror(host: string, origin: string): string[] {
  return [`  ${JSON.stringify(host)}:`, '    endpoint:', `      - ${JSON.stringify(origin)}`];
}

export const CLIENTS: ReadonlyMap<string, Client> = new Map(Object.entries({ containerd, docker, podman, k3s }));

function isPlain(registry: URL): boolean {
  return registry.protocol === 'http:';
}

/** A host as the first part of a name in the archive: `localhost_5000`. */
function inNames(host: string): string {
  const name = requestName(`${host}/x`);
  return name === undefined ? host : name.slice(0, name.indexOf('/'));
}
