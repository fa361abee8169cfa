import { beforeEach, describe, expect, test } from 'vitest';
import { Metrics } from '../../../lib/serve/metrics.ts';
import { refusal, Served } from './served.ts';

const RESPONSE = { kind: 'tag', status: 200, isMiss: false, bytes: 10, sentBytes: 30, redirectedBytes: 0 } as const;

describe('the metrics of a server', () => {
  test('count responses, misses and bytes in the text format of Prometheus', () => {
    const metrics = new Metrics();
    metrics.count(RESPONSE);
    metrics.count(RESPONSE);
    metrics.count({ ...RESPONSE, status: 404, isMiss: true });
    metrics.count({ ...RESPONSE, kind: 'blob', bytes: undefined });
    metrics.count({ ...RESPONSE, kind: 'blob', status: 307, bytes: 0, redirectedBytes: 5_000_000_000 });
    metrics.countOrder('ordered');
    metrics.countOrder('recent');
    metrics.countOrder('recent');
    expect(metrics.text().split('\n')).toEqual([
      '# HELP mirror_sync_serve_requests_total Responses, by the kind of the request and the status.',
      '# TYPE mirror_sync_serve_requests_total counter',
      'mirror_sync_serve_requests_total{kind="tag",status="200"} 2',
      'mirror_sync_serve_requests_total{kind="tag",status="404"} 1',
      'mirror_sync_serve_requests_total{kind="blob",status="200"} 1',
      'mirror_sync_serve_requests_total{kind="blob",status="307"} 1',
      '# HELP mirror_sync_serve_misses_total Requests for a manifest or a blob that the archive lacks.',
      '# TYPE mirror_sync_serve_misses_total counter',
      'mirror_sync_serve_misses_total{kind="tag"} 1',
      '# HELP mirror_sync_serve_orders_total Requests for missing tags, by their result.',
      '# TYPE mirror_sync_serve_orders_total counter',
      'mirror_sync_serve_orders_total{result="ordered"} 1',
      'mirror_sync_serve_orders_total{result="recent"} 2',
      '# HELP mirror_sync_serve_interrupted_total Responses whose client disconnected before the end.',
      '# TYPE mirror_sync_serve_interrupted_total counter',
      'mirror_sync_serve_interrupted_total 1',
      '# HELP mirror_sync_serve_sent_bytes_total Bytes written to connections, with headers.',
      '# TYPE mirror_sync_serve_sent_bytes_total counter',
      'mirror_sync_serve_sent_bytes_total 150',
      '# HELP mirror_sync_serve_redirected_bytes_total Bytes of blobs whose response was a redirect.',
      '# TYPE mirror_sync_serve_redirected_bytes_total counter',
      'mirror_sync_serve_redirected_bytes_total 5000000000',
      '',
    ]);
  });

  let served: Served;
  beforeEach(() => {
    served = new Served({ metrics: () => 'x_total 1\n' });
  });

  test('are at /metrics, and never cached', async () => {
    const response = await served.get('/metrics');
    expect(await response.text()).toBe('x_total 1\n');
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  test('need a login where pulls do', async () => {
    served.with({ metrics: () => 'x_total 1\n', logins: { userOf: () => Promise.resolve(undefined) } });
    expect(await refusal(await served.get('/metrics'))).toBe('401 UNAUTHORIZED');
  });

  test('are missing on a host that has other metrics', async () => {
    served.with({});
    expect(await refusal(await served.get('/metrics'))).toBe('404 UNSUPPORTED');
  });
});
