import { describe, expect, test } from 'vitest';
import { accessLog } from '../../../lib/cli/output/access-log.ts';
import type { Access } from '../../../lib/serve/listen.ts';

const NOW = Date.parse('2026-01-31T12:00:00.000Z');
const ACCESS: Access = {
  client: '10.0.0.7',
  user: 'ann',
  method: 'GET',
  target: '/v2/docker.io/library/alpine/manifests/3.20',
  kind: 'tag',
  status: 200,
  isMiss: false,
  missingTag: undefined,
  bytes: 1_234,
  sentBytes: 1_500,
  redirectedBytes: 0,
  ms: 2.6,
};

interface Form {
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** Undefined for a pipe. */
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
}

function printed(access: Partial<Access>, { json = false, quiet = false, columns, env = {} }: Form = {}): string {
  let text = '';
  const write = (chunk: string): unknown => (text += chunk);
  const stdout = { write, ...(columns === undefined ? {} : { isTTY: true, columns }) };
  accessLog({ json, quiet }, { stdout, env }, () => NOW)({ ...ACCESS, ...access });
  return text;
}

describe('the access log', () => {
  test('has a line with all fields for a pipe', () => {
    expect(printed({})).toBe(
      '2026-01-31T12:00:00.000Z  10.0.0.7  ann  GET /v2/docker.io/library/alpine/manifests/3.20  200  1234  3 ms\n',
    );
    expect(printed({ user: undefined, bytes: undefined })).toContain('  -  GET ');
    expect(printed({ bytes: undefined })).toContain('  interrupted  ');
  });

  test('has a line that fits a terminal, coloured by its status', () => {
    const line = printed({}, { columns: 60 });
    expect(line).toMatch(/^\d\d:00:00 {2}200 {2}GET {2}…\S*manifests\/3\.20 {2}1\.2 kB {2}3 ms {2}ann\n$/);
    expect(line.length).toBeLessThanOrEqual(60);
    expect(printed({ user: undefined }, { columns: 200 })).toContain('  10.0.0.7\n');
    expect(printed({ status: 404 }, { columns: 80 })).toContain('\u001b[33m');
    expect(printed({ status: 503 }, { columns: 80 })).toContain('\u001b[1;31m');
    expect(printed({ status: 503 }, { columns: 80, env: { NO_COLOR: '1' } })).toMatch(/^2026-/);
  });

  test('has a JSON object for a program', () => {
    expect(JSON.parse(printed({ status: 307, redirectedBytes: 9 }, { json: true }))).toEqual({
      type: 'access',
      at: '2026-01-31T12:00:00.000Z',
      client: '10.0.0.7',
      user: 'ann',
      method: 'GET',
      target: '/v2/docker.io/library/alpine/manifests/3.20',
      kind: 'tag',
      status: 307,
      bytes: 1_234,
      redirectedBytes: 9,
      miss: false,
      elapsedMs: 3,
    });
    expect(JSON.parse(printed({ user: undefined, bytes: undefined }, { json: true }))).toMatchObject({
      user: null,
      bytes: null,
    });
  });

  test('is empty with --quiet', () => {
    expect(printed({}, { quiet: true })).toBe('');
    expect(printed({}, { quiet: true, json: true })).toBe('');
  });

  test.each([{}, { json: true }, { columns: 80 }])('lets no client write control characters: %j', (form: Form) => {
    const target = '/v2/\u001b[2J\n\u009b1m\u202e/manifests/x';

    const text = printed({ target, user: 'a\nb\u001b' }, form)
      .replace(/\n$/, '')
      .replaceAll(/^\u001b\[33m|\u001b\[0m$/g, '');
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(printed({ target: `/${'x'.repeat(4_000)}` }, form).length).toBeLessThan(1_500);
  });
});
