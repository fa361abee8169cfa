/**
 * Deliveries as their senders document them, without unused fields:
 * - Docker Hub: docs.docker.com/docker-hub/repos/manage/webhooks
 * - GitHub: github.com/octokit/webhooks, payload-examples/api.github.com/registry_package/published.docker
 * - Harbor: goharbor.io/docs, "Configure Webhook Notifications", both formats
 * - Quay: docs.redhat.com, Red Hat Quay, "Repository Notifications"
 * - distribution: distribution.github.io/distribution/about/notifications
 * - ECR: docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
 */
import type { Delivery, Sender } from '../../../lib/webhook/delivery.ts';
import { signatureOf } from '../../../lib/webhook/proof.ts';
import type { WebhookSecrets } from '../../../lib/webhook/secrets.ts';

export const SECRETS = {
  dockerhub: ['dockerhub-secret-0123456789'],
  github: ['github-secret-0123456789'],
  harbor: ['harbor-secret-0123456789'],
  quay: ['quay-secret-0123456789'],
  distribution: ['distribution-secret-0123456789'],
} as const satisfies WebhookSecrets;

export const DIGEST = 'sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4';

export const DOCKERHUB = {
  callback_url: 'https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/',
  push_data: { pushed_at: 1417566161, pusher: 'trustedbuilder', tag: 'latest' },
  repository: {
    comment_count: 0,
    date_created: 1417494799,
    description: '',
    full_description: 'Docker Hub based automated build from a GitHub repo',
    is_official: false,
    is_private: true,
    is_trusted: true,
    name: 'testhook',
    namespace: 'svendowideit',
    owner: 'svendowideit',
    repo_name: 'svendowideit/testhook',
    repo_url: 'https://registry.hub.docker.com/u/svendowideit/testhook/',
    star_count: 0,
    status: 'Active',
  },
};

const GITHUB_PACKAGE = {
  id: 10696,
  name: 'hello-world',
  namespace: 'Codertocat',
  description: null,
  ecosystem: 'CONTAINER',
  package_type: 'CONTAINER',
  html_url: 'https://github.com/Codertocat/packages/10696',
  owner: { login: 'Codertocat', id: 21031067, type: 'User' },
  package_version: {
    id: 57755791,
    version: DIGEST,
    name: DIGEST,
    manifest: '',
    container_metadata: {
      tag: { name: '1.2', digest: DIGEST },
      labels: { description: 'Hello-World in a docker container', licenses: '' },
      manifest: { digest: DIGEST, media_type: 'application/vnd.docker.distribution.manifest.v2+json', size: 1782 },
    },
    package_files: [],
    installation_command: 'docker pull ghcr.io/Codertocat/hello-world:1.2',
    package_url: 'ghcr.io/Codertocat/hello-world:1.2',
  },
  registry: { name: 'GitHub CONTAINER registry', type: 'CONTAINER', vendor: 'GitHub Inc' },
};

export const GITHUB = {
  action: 'published',
  registry_package: GITHUB_PACKAGE,
  repository: { id: 185882436, full_name: 'Codertocat/hello-world' },
  sender: { login: 'Codertocat' },
};

const HARBOR_DATA = {
  resources: [{ digest: DIGEST, tag: '3.8', resource_url: 'harbor.example.com/harbor/alpine:3.8' }],
  repository: {
    date_created: 1680501893,
    name: 'alpine',
    namespace: 'harbor',
    repo_full_name: 'harbor/alpine',
    repo_type: 'private',
  },
};

export const HARBOR = { type: 'PUSH_ARTIFACT', occur_at: 1680501893, operator: 'admin', event_data: HARBOR_DATA };

const HARBOR_CLOUD_EVENT = {
  specversion: '1.0',
  id: '718eab63-2efa-4f88-8c27-8bcacc34929b',
  requestid: 'bb4b5b91-aac7-4acd-8dff-e4118e53f6d1',
  source: '/projects/2/webhook/policies/15',
  type: 'harbor.artifact.pushed',
  datacontenttype: 'application/json',
  time: '2023-04-03T06:12:52Z',
  data: HARBOR_DATA,
  operator: 'admin',
};

export const QUAY = {
  name: 'repository',
  repository: 'dgangaia/test',
  namespace: 'dgangaia',
  docker_url: 'quay.io/dgangaia/test',
  homepage: 'https://quay.io/repository/dgangaia/repository',
  updated_tags: ['latest', '1.0'],
};

export function distributionEvent(action: string, target: object): object {
  return {
    id: '320678d8-ca14-430f-8bb6-4ca139cd83f7',
    timestamp: '2016-03-09T14:44:26.402973972-08:00',
    action,
    target: {
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      digest: DIGEST,
      size: 708,
      length: 708,
      repository: 'hello-world',
      url: `http://192.168.100.227:5000/v2/hello-world/manifests/${DIGEST}`,
      tag: 'latest',
      ...target,
    },
    request: { id: '6df24a34', addr: '192.168.64.11:42961', host: '192.168.100.227:5000', method: 'PUT' },
    actor: {},
    source: { addr: 'xtal.local:5000', instanceID: 'a53db899-3b4b-4a62-a067-8dd013beaca4' },
  };
}

export const DISTRIBUTION = {
  events: [
    distributionEvent('push', {}),
    distributionEvent('push', { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', tag: '' }),
    distributionEvent('pull', { tag: 'pulled' }),
  ],
};

export const ECR = {
  version: '0',
  id: '13cde686-328b-6117-af20-0e5566167482',
  'detail-type': 'ECR Image Action',
  source: 'aws.ecr',
  account: '123456789012',
  time: '2019-11-16T01:54:34Z',
  region: 'us-west-2',
  resources: [],
  detail: {
    result: 'SUCCESS',
    'repository-name': 'my-repository-name',
    // The documented value, which is too short.
    'image-digest': 'sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234',
    'action-type': 'PUSH',
    'image-tag': 'latest',
  },
};

/** A delivery in the format of its sender. */
export function deliveryOf(sender: Sender, document: unknown, headers: Delivery['headers'] = {}): Delivery {
  const bytes = document instanceof Uint8Array || typeof document === 'string' ? document : JSON.stringify(document);
  const body = Buffer.from(bytes as string);
  const json = { 'content-type': 'application/json' };
  switch (sender) {
    case 'dockerhub':
      return { headers: { ...json, ...headers }, body, path: `/hooks/${SECRETS.dockerhub[0]}`, query: '' };
    case 'quay':
      return { headers: { ...json, ...headers }, body, path: '/', query: `secret=${SECRETS.quay[0]}` };
    case 'github': {
      const signature = signatureOf(body, SECRETS.github[0]);
      const own = { ...json, 'x-github-event': 'registry_package', 'x-hub-signature-256': signature };
      return { headers: { ...own, ...headers }, body, path: '/', query: '' };
    }
    case 'harbor':
      return { headers: { ...json, authorization: SECRETS.harbor[0], ...headers }, body, path: '/', query: '' };
    case 'distribution': {
      const type = 'application/vnd.docker.distribution.events.v2+json';
      const own = { 'content-type': type, authorization: `Bearer ${SECRETS.distribution[0]}` };
      return { headers: { ...own, ...headers }, body, path: '/', query: '' };
    }
  }
}

/** One valid delivery of each sender, and its content. */
export const GOOD: readonly (readonly [Sender, object, readonly object[]])[] = [
  ['dockerhub', DOCKERHUB, [{ repository: 'docker.io/svendowideit/testhook', tag: 'latest' }]],
  ['github', GITHUB, [{ repository: 'ghcr.io/codertocat/hello-world', tag: '1.2', digest: DIGEST }]],
  ['harbor', HARBOR, [{ repository: 'harbor.example.com/harbor/alpine', tag: '3.8', digest: DIGEST }]],
  ['harbor', HARBOR_CLOUD_EVENT, [{ repository: 'harbor.example.com/harbor/alpine', tag: '3.8', digest: DIGEST }]],
  [
    'quay',
    QUAY,
    [
      { repository: 'quay.io/dgangaia/test', tag: 'latest' },
      { repository: 'quay.io/dgangaia/test', tag: '1.0' },
    ],
  ],
  ['distribution', DISTRIBUTION, [{ repository: '192.168.100.227:5000/hello-world', tag: 'latest', digest: DIGEST }]],
];
