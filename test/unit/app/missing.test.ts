import { describe, expect, test } from 'vitest';
import { orderForMissing, type MissingOrder } from '../../../lib/app/missing.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import { allowed } from '../../../lib/webhook/orders.ts';

const CONFIG = parseConfig(
  `
version: 1
mirrors:
  - { source: alpine, tags: { include: ['3.*'], exclude: ['*-rc*'] }, platforms: [linux/amd64] }
  - { source: quay.io/team/app, tags: { include: ['[0-9]*', latest], newest: 3 } }
  - { source: quay.io/team/tool, tags: [stable], destination: mirror.example.com/tool }
  - { source: registry.example.com:5000/team/app, tags: all }`,
  'mirror.yaml',
);

function order(repositories: string | readonly string[], tag: string, now = 1): MissingOrder | undefined {
  return orderForMissing({ repositories: [repositories].flat(), tag }, CONFIG, now);
}

const wanted = (...of: Parameters<typeof order>): unknown => order(...of)?.messages.map(({ message }) => message.what);

describe('the order for a missing tag', () => {
  test('requests the tag with the settings of the mirror', () => {
    const found = order('docker.io/library/alpine', '3.20');
    expect(found).toMatchObject({
      key: 'docker.io/library/alpine:3.20',
      messages: [
        {
          message: {
            run: found?.run,
            source: 'docker.io/library/alpine',
            repository: 'docker.io/library/alpine',
            platforms: [{ os: 'linux', architecture: 'amd64' }],
            what: { kind: 'images', images: [{ tag: '3.20' }] },
          },
        },
      ],
    });
  });

  test('is missing for a tag that the filter does not admit, and for other repositories', () => {
    expect(order('docker.io/library/alpine', 'edge')).toBeUndefined();
    expect(order('docker.io/library/alpine', '3.20-rc1')).toBeUndefined();
    expect(order('mirror.example.com/tool', 'latest')).toBeUndefined();
    expect(order('docker.io/library/busybox', '3.20')).toBeUndefined();
    expect(order([], '3.20')).toBeUndefined();
  });

  test('finds the mirror by the name in the archive, and not by its source', () => {
    expect(order('quay.io/team/tool', 'stable')).toBeUndefined();
    const [first] = order('mirror.example.com/tool', 'stable')?.messages ?? [];
    expect(first?.message).toMatchObject({ source: 'quay.io/team/tool', repository: 'mirror.example.com/tool' });
  });

  test('is for the first configured repository that the name may mean', () => {
    const names = ['registry.example.com:5000/team/app', 'docker.io/library/alpine'];
    expect(order(names, '3.20')?.key).toBe('registry.example.com:5000/team/app:3.20');
    expect(order(['docker.io/none', ...names.slice(1)], '3.20')?.key).toBe('docker.io/library/alpine:3.20');
  });

  test('requests the list of tags if only the newest ones are mirrored, once for all tags', () => {
    expect(wanted('quay.io/team/app', '1.2')).toEqual([{ kind: 'list' }]);
    expect(order('quay.io/team/app', '1.2')?.key).toBe(order('quay.io/team/app', '1.3')?.key);
    expect(wanted('quay.io/team/app', 'latest')).toEqual([{ kind: 'images', images: [{ tag: 'latest' }] }]);
  });

  test('has a new run each time, and messages that the queue drops within five minutes', () => {
    const [first, second] = [order('docker.io/library/alpine', '3.20'), order('docker.io/library/alpine', '3.20', 2)];
    expect(first?.run).toMatch(/^fill-[0-9a-f]{32}$/);
    expect(second?.run).not.toBe(first?.run);
    expect(second?.messages[0]?.deduplicationId).toBe(first?.messages[0]?.deduplicationId);
    const other = order('docker.io/library/alpine', '3.21');
    expect(other?.messages[0]?.deduplicationId).not.toBe(first?.messages[0]?.deduplicationId);
  });

  test('is restricted to the configuration by the resolver', () => {
    const message = order('docker.io/library/alpine', '3.20')!.messages[0]!.message;
    expect(allowed(message, CONFIG)).toEqual(message);
    expect(allowed({ ...message, platforms: 'all' }, CONFIG)).toEqual(message);
    expect(allowed({ ...message, repository: 'quay.io/team/app' }, CONFIG)).toBeUndefined();
    const edge = { kind: 'images', images: [{ tag: 'edge' }] } as const;
    expect(allowed({ ...message, what: edge }, CONFIG)).toBeUndefined();
  });
});
