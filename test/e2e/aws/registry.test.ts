/** The bundled registry function, with the role of the template, over a real S3 server. */
import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HttpResult } from '../../../functions/http.ts';
import { conformance } from '../../kit/conformance.ts';
import { mirrorSync, summaryOf } from '../../kit/command-line.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { balancerEvent, functionUrlEvent, type HttpCall } from '../../kit/lambda/http-events.ts';
import { LOGIN, type RegistryFunction, startRegistryFunction } from '../../kit/lambda/registry.ts';
import { buildBundles } from '../../kit/lambda/stack.ts';
import { CLIENTS } from '../../kit/matrix.ts';
import { describeWith, run } from '../../kit/real.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { describeWithS3 } from '../../kit/s3-suite.ts';
import { IMAGES as KINDS } from '../../kit/serving.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

/** Above the limit of a response: a manifest with annotations, as attestations have them. */
const LARGE = makeIndex([makeImage({ layers: [makeLayer({ seed: 9 })] })], 'oci', {
  annotations: { note: 'x'.repeat(800_000) },
});
const IMAGES: ReadonlyMap<string, Pushable> = new Map([...KINDS, ['large', LARGE]]);
const AUTHORIZATION = `Basic ${Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64')}`;
const HOSTS = [
  ['a function URL', functionUrlEvent],
  ['a load balancer', (call: HttpCall) => balancerEvent(call)],
  ['a load balancer with lists of values', (call: HttpCall) => balancerEvent(call, true)],
] as const;

await describeWithS3('the registry function', (server) => {
  let bundles: TempFolder;
  let folder: TempFolder;
  let upstream: TestRegistry;
  let registry: RegistryFunction;
  let name: string;

  beforeAll(async () => {
    [bundles, folder, upstream] = await Promise.all([buildBundles(), tempFolder(), startRegistry()]);
    for (const [tag, image] of IMAGES) upstream.push('team/app', image, tag);
    const bucket = await server.bucket();
    const args = ['sync', `${upstream.host}/team/app`, '--all-tags', '--to', `s3://${bucket}/archive`, '--json'];
    expect(summaryOf(await mirrorSync(args, server.env))).toMatchObject({ failed: 0, mirrored: IMAGES.size });
    // Another archive in the same bucket, which the function must not show.
    const other = await server.store({ bucket, prefix: 'archive-of-others' });
    await other.put('repositories/docker.io/secret/index.json', Buffer.from('{}'));
    registry = await startRegistryFunction({ bundles, s3: server, bucket, prefix: 'archive/' });
    name = `${upstream.host.replace(':', '_')}/team/app`;
  });
  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    await upstream.close();
    await Promise.all([bundles.remove(), folder.remove()]);
  });

  /** Follows a redirect as a client does, without the login. */
  async function contentOf(result: HttpResult): Promise<Buffer> {
    if (result.statusCode !== 307) return Buffer.from(result.body, 'base64');
    expect(result.body).toBe('');
    const response = await fetch(headersOf(result)['location'] ?? '');
    expect(response.status).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  }

  describe.each(HOSTS)('behind %s', (_, eventOf) => {
    const call = (target: string, options: Partial<HttpCall> = {}): Promise<HttpResult> =>
      registry.call(eventOf({ target, ...options, headers: { authorization: AUTHORIZATION, ...options.headers } }));

    test('serves every kind of image with the digest and the bytes of upstream', async () => {
      for (const [tag, { manifest, mediaType, digest, blobs, children }] of IMAGES) {
        for (const reference of [tag, digest]) {
          const result = await call(`/v2/${name}/manifests/${reference}`);
          expect([tag, result.statusCode]).toEqual([tag, tag === 'large' ? 307 : 200]);
          expect((await contentOf(result)).equals(manifest)).toBe(true);
          expect(headersOf(result)['docker-content-digest']).toBe(digest);
          const head = await call(`/v2/${name}/manifests/${reference}`, { method: 'HEAD' });
          expect(head).toMatchObject({ statusCode: 200, body: '' });
          expect(headersOf(head)).toMatchObject({
            'content-type': mediaType,
            'content-length': String(manifest.length),
            'docker-content-digest': digest,
          });
        }
        for (const child of children)
          expect((await contentOf(await call(`/v2/${name}/manifests/${child.digest}`))).equals(child.manifest)).toBe(
            true,
          );
        for (const [blob, bytes] of blobs)
          expect((await contentOf(await call(`/v2/${name}/blobs/${blob}`))).equals(bytes)).toBe(true);
      }
    }, 60_000);

    test('sends a manifest above the limit from S3 with its media type', async () => {
      const result = await call(`/v2/${name}/manifests/large`);
      const response = await fetch(headersOf(result)['location'] ?? '');
      expect(response.headers.get('content-type')).toBe(LARGE.mediaType);
    });

    // AWS passes the raw path; a node server would refuse some of these itself.
    test('has the documented status for hostile requests, and names nothing beyond the archive', async () => {
      const manifest = `/v2/${name}/manifests/index`;
      for (const [target, status] of [
        [manifest, 200],
        ['/v2/', 200],
        ['/healthz', 200],
        [`/v2/${name}/../app/manifests/index`, 400],
        [`/v2/x/../${name}/manifests/index`, 400],
        [manifest.replaceAll('/team', '%2Fteam'), 400],
        [`/v2/${name}%00/manifests/index`, 400],
        [`/v2/${name}\0/manifests/index`, 400],
        [`/v2/${'a'.repeat(10_000)}/manifests/x`, 400],
        ['/v2/docker.io/secret/tags/list', 404],
        ['/v2/../archive-of-others/docker.io/secret/tags/list', 400],
        ['/v2/archive-of-others/repositories/docker.io/secret/tags/list', 404],
        ['/../../v2/', 404],
        ['//other.example/v2/', 404],
        [`/v2/${name}/tags/list?n=-1`, 400],
      ] as const) {
        const result = await call(target);
        expect([target.slice(0, 60), result.statusCode]).toEqual([target.slice(0, 60), status]);
        if (status >= 400) expect(JSON.stringify(result)).not.toMatch(/index\.json|s3:|mirror-sync-[0-9a-f]{8}/);
      }
      const large = await call(manifest, { headers: { 'x-large': 'x'.repeat(1_000_000) } });
      expect(large.statusCode).toBe(200);
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE'])
        expect([method, (await call(manifest, { method })).statusCode]).toEqual([method, 405]);
      const catalog = await contentOf(await call('/v2/_catalog'));
      expect(JSON.parse(catalog.toString())).toEqual({ repositories: [name] });
    });

    test('refuses missing, wrong and foreign credentials', async () => {
      const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
      const target = `/v2/${name}/manifests/index`;
      for (const authorization of [
        '',
        basic(`${LOGIN.user}:wrong`),
        basic(`someone:${LOGIN.password}`),
        `Bearer ${LOGIN.password}`,
        'AWS4-HMAC-SHA256 Credential=x',
      ]) {
        const result = await call(target, { headers: { authorization } });
        expect([authorization, result.statusCode]).toEqual([authorization, 401]);
        expect(headersOf(result)['www-authenticate']).toBe('Basic realm="mirror-sync"');
      }
    });
  });

  test('logs who pulled what, and no URL that grants access', async () => {
    const { lambda } = registry;
    await lambda.logged((lines) => lines.some((line) => line.includes(`"redirectedBytes":${LARGE.manifest.length}`)));
    const log = lambda.logs.join('\n');
    expect(log).toContain('"user":"ci"');
    expect(log).not.toContain('X-Amz-Signature');
    expect(log).not.toContain(LOGIN.password);
  });

  for (const client of CLIENTS)
    describeWith(client.programs, client.name, () => {
      test('logs in with its file, and copies images and an index from a load balancer with their digests', async () => {
        const login = folder.join(`login-${client.name}`);
        await mkdir(login);
        const auth = Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64');
        await writeFile(`${login}/config.json`, JSON.stringify({ auths: { [registry.host]: { auth } } }));
        const env = { DOCKER_CONFIG: login, REGISTRY_AUTH_FILE: `${login}/config.json` };
        const target = { host: registry.host, folder: folder.join(client.name), authorization: AUTHORIZATION, env };
        await using copier = await client.open(target);
        for (const tag of ['kind-0', 'kind-1', 'index'])
          expect([tag, await copier.copy(`${name}:${tag}`, folder.join(`${client.name}-${tag}`))]).toEqual([
            tag,
            IMAGES.get(tag)?.digest,
          ]);
      });
    });

  describeWith(['conformance'], 'the conformance program of the OCI distribution spec', () => {
    test('passes its read-only tests through a load balancer', async () => {
      const results = folder.join('conformance');
      const env = { OCI_USERNAME: LOGIN.user, OCI_PASSWORD: LOGIN.password };
      const { failed, passed } = await conformance({ host: registry.host, name, results, env });
      expect(failed).toBe(0);
      expect(passed).toBeGreaterThanOrEqual(10);
    });
  });

  describeWith(['crane'], 'crane', () => {
    test('logs in, and pulls images, lists and a manifest that S3 sends', async () => {
      const env = { DOCKER_CONFIG: folder.join('crane') };
      const crane = (...args: string[]): Promise<string> => run('crane', [...args, '--insecure'], env);
      await crane('auth', 'login', registry.host, '-u', LOGIN.user, '-p', LOGIN.password);
      const tags = (await crane('ls', `${registry.host}/${name}`)).trim().split('\n');
      expect(tags.sort()).toEqual([...IMAGES.keys()].sort());
      for (const tag of ['index', 'nested', 'large']) {
        expect((await crane('digest', `${registry.host}/${name}:${tag}`)).trim()).toBe(IMAGES.get(tag)?.digest);
        expect(await crane('manifest', `${registry.host}/${name}:${tag}`)).toBe(IMAGES.get(tag)?.manifest.toString());
      }
      await crane('pull', '--format=oci', `${registry.host}/${name}:index`, folder.join('crane-index'));
      await crane('pull', '--format=oci', `${registry.host}/${name}:large`, folder.join('crane-large'));
    });
  });
});

function headersOf({ headers, multiValueHeaders }: HttpResult): Readonly<Record<string, string>> {
  const lists = Object.entries(multiValueHeaders ?? {}).map(([header, values]) => [header, values.join(', ')] as const);
  return headers ?? Object.fromEntries(lists);
}
