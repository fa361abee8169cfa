/** How to point clients at a served archive. */
import { requestName } from '../../serve/names.ts';

export interface HintOptions {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  readonly repositories: readonly string[];
  readonly defaultHost: string | undefined;
  readonly isTls: boolean;
}

/** The lines that `serve` prints; examples name a repository of the archive. */
export function hintsFor({ url, repositories, defaultHost, isTls }: HintOptions): readonly string[] {
  const authority = new URL(url).host;
  const repository = repositories.find((name) => requestName(name) !== undefined) ?? 'docker.io/library/alpine';
  const name = requestName(repository) ?? repository;
  const host = repository.slice(0, repository.indexOf('/'));
  const inRequests = name.slice(0, name.indexOf('/'));
  return [
    `open ${url}/ in a browser, or pull from it:`,
    `  Docker      docker pull ${authority}/${name}:TAG`,
    defaultHost === undefined
      ? '              registry-mirrors in daemon.json needs --default-host docker.io'
      : `              or in /etc/docker/daemon.json: {"registry-mirrors": ["${url}"]} (covers docker.io only)`,
    `  containerd  /etc/containerd/certs.d/${host}/hosts.toml`,
    `                [host."${url}"]`,
    '                  capabilities = ["pull", "resolve"]',
    '  podman      a file in /etc/containers/registries.conf.d/',
    '                [[registry]]',
    `                location = "${host}"`,
    '                [[registry.mirror]]',
    `                location = "${authority}/${inRequests}"`,
    ...(isTls ? [] : ['                insecure = true']),
    `  skopeo      skopeo copy --all${isTls ? '' : ' --src-tls-verify=false'} docker://${authority}/${name}:TAG docker://REGISTRY/NAME:TAG`,
  ];
}
