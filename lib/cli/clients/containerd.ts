import { type Client, type ConfigFile } from './client.ts';

const FOLDER = '/etc/containerd/certs.d';

/** https://github.com/containerd/containerd/blob/main/docs/hosts.md */
export const containerd: Client = ({ registry: { origin }, hosts, exclusive }) => ({
  files: hosts.map((host): ConfigFile => {
    const name = `${host}/hosts.toml`;
    const text = textFor(origin, exclusive ? origin : upstreamOf(host));
    return { path: `${FOLDER}/${name}`, name, text, hasComments: true };
  }),
  notes: [
    `containerd reads these files if config_path is "${FOLDER}" in /etc/containerd/config.toml, in containerd 1.6 in the section ` +
      '[plugins."io.containerd.grpc.v1.cri".registry]; restart it after a change of config.toml only',
    `ctr reads them with ctr images pull --hosts-dir ${FOLDER}`,
    'if the archive requires a login, add a section [host."…".header] with Authorization = "Basic …" (docs/serve.md)',
  ],
});

/**
 * `resolve` lets the archive decide what a tag means. The server is asked last. containerd 1.6 ignores a file without a section
 * for a host, and asks the registry itself, so an exclusive file names the archive twice.
 */
function textFor(origin: string, server: string): string {
  return `server = "${server}"\n\n[host."${origin}"]\n  capabilities = ["pull", "resolve"]\n`;
}

/** As containerd without a file: Docker Hub has another host in references, and a registry on this machine needs no TLS. */
function upstreamOf(host: string): string {
  if (host === 'docker.io') return 'https://registry-1.docker.io';
  return `${/^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(host) ? 'http' : 'https'}://${host}`;
}
