/** Commands that pull an image. */
import { html, type Html } from './text.ts';

/** Stands for the address of the server where a request does not name it. */
const UNKNOWN = 'REGISTRY';

/** A name or an address, with or without a port. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,45}\])(?::\d{1,5})?$/i;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

/** The server, as the browser has reached it. */
export interface Address {
  readonly host: string;
  readonly isTls: boolean;
}

export function addressOf({ headers, url }: Request): Address {
  const host = headers.get('host') ?? '';
  // A proxy in front of the server ends TLS.
  const isTls = url.startsWith('https:') || headers.get('x-forwarded-proto') === 'https';
  return { host: HOST.test(host) ? host : UNKNOWN, isTls };
}

/** `artifact` for content that engines do not run. */
export type PullKind = 'image' | 'artifact' | 'schema1';

export interface PullOptions {
  readonly address: Address;
  /** The reference without the server: `docker.io/library/alpine:3.20`. */
  readonly reference: string;
  readonly kind: PullKind;
  /** Whether the archive has all platforms. */
  readonly isWhole: boolean;
  readonly needsLogin: boolean;
}

export function pullCommands(options: PullOptions): Html {
  const commands = commandsOf(options);
  const { host, isTls } = options.address;
  const isPlain = !isTls && !LOOPBACK.test(host) && options.kind === 'image';
  return html`<div class="commands">
      ${commands.map(
        ([tool, command]) =>
          html`<div>
            <h3>${tool}</h3>
            <div class="command" data-tool="${tool}">
              <pre tabindex="0"><code>${command}</code></pre>
            </div>
          </div>`,
      )}
    </div>
    ${
      isPlain
        ? html`<p class="quiet">
            This server does not use TLS. Docker pulls from it if <code>insecure-registries</code> in daemon.json names
            ${host}.
          </p>`
        : ''
    }
    ${
      options.kind === 'schema1'
        ? html`<p class="quiet">
            This is a Docker schema 1 image, which current releases of Docker and containerd do not pull.
            <code>mirror-sync convert</code>
            adds an OCI image to the archive.
          </p>`
        : ''
    }`;
}

function commandsOf(options: PullOptions): readonly (readonly [tool: string, command: string])[] {
  const { address, kind, isWhole, needsLogin } = options;
  const { host, isTls } = address;
  const reference = `${host}/${options.reference}`;
  const plain = (flag: string): string => (isTls ? '' : `${flag} `);
  const login = needsLogin ? [['Log in first', `docker login ${host}`] as const] : [];
  const copy = `skopeo copy ${isWhole ? '--all ' : ''}${plain('--src-tls-verify=false')}docker://${reference} dir:image`;
  if (kind === 'artifact')
    return [
      ['ORAS', `oras pull ${plain('--plain-http')}${reference}`],
      ['skopeo', copy],
    ];
  const podman = ['Podman', `podman pull ${plain('--tls-verify=false')}${reference}`] as const;
  if (kind === 'schema1') return [podman, ['skopeo', copy]];
  return [
    ...login,
    ['Docker', `docker pull ${reference}`],
    podman,
    ['crane', `crane pull ${plain('--insecure')}--format=oci ${reference} image`],
    ['skopeo', copy],
  ];
}
