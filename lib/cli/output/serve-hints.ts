/** How to point clients at a served archive. */
import { requestName } from '../../serve/names.ts';

export interface HintOptions {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  /** The archive as the command line names it. */
  readonly archive: string;
  readonly repositories: readonly string[];
  readonly isTls: boolean;
}

/** The lines that `serve` prints; examples name a repository of the archive. */
export function hintsFor({ url, archive, repositories, isTls }: HintOptions): readonly string[] {
  const authority = new URL(url).host;
  const repository = repositories.find((name) => requestName(name) !== undefined) ?? 'docker.io/library/alpine';
  const image = `${authority}/${requestName(repository) ?? repository}:TAG`;
  return [
    `open ${url}/ in a browser, or pull from it:`,
    `  docker pull ${image}`,
    `  podman pull ${isTls ? '' : '--tls-verify=false '}${image}`,
    `  skopeo copy --all${isTls ? '' : ' --src-tls-verify=false'} docker://${image} docker://REGISTRY/NAME:TAG`,
    'let containerd, Docker, podman or k3s ask it before the registries:',
    `  mirror-sync client-config containerd|docker|podman|k3s --registry ${url} ${archive}`,
  ];
}
