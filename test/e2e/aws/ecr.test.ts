import { expect, test } from 'vitest';
import { ECR_LOGIN } from '../../kit/aws-services.ts';
import { makeImage } from '../../kit/images.ts';
import { describeOnAws } from '../../kit/lambda/on-aws.ts';
import { startRegistry } from '../../kit/registry.ts';

const HOST = '123456789012.dkr.ecr.eu-central-1.amazonaws.com';

await describeOnAws('a private ECR registry', ({ start }) => {
  // EventBridge sends an event, and the functions log in with a token that their roles may get.
  test('is mirrored after a push', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', ...ECR_LOGIN } });
    const digest = registry.push('team/app', makeImage(), 'v1');
    registry.push('team/app', makeImage({ platform: { os: 'linux', architecture: 'arm64' } }), 'v2');
    const config = `
version: 1
registries:
  ${HOST}: { endpoints: ['http://${registry.host}'] }
  ${registry.host}: { credentials: ${HOST} }
mirrors:
  - source: ${HOST}/team/app
    tags: all
`;
    await using stack = await start({ config });
    const { outcome } = await stack.functions.webhook.invoke({
      version: '0',
      id: '13cde686-328b-6117-af20-0e5566167482',
      'detail-type': 'ECR Image Action',
      source: 'aws.ecr',
      account: '123456789012',
      time: '2026-01-01T00:00:00Z',
      region: 'eu-central-1',
      resources: [],
      detail: {
        result: 'SUCCESS',
        'repository-name': 'team/app',
        'image-digest': digest,
        'action-type': 'PUSH',
        'image-tag': 'v1',
      },
    });
    expect(outcome).not.toHaveProperty('error');
    await stack.drained();
    const read = await stack.archive.tagIndex(`${HOST}/team/app`);
    expect(read?.index.entries().map(({ tag, digest: named }) => [tag, named])).toEqual([['v1', digest]]);
  });
});
