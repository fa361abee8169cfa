import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { deliveryOf, ECR, GITHUB, SECRETS } from '../webhook/samples.ts';
import { balancerEvent } from '../../kit/lambda/http-events.ts';
import { contextOf, OnMocks } from './on-mocks.ts';

const REPOSITORY = '123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name';

let aws: OnMocks;
beforeEach(() => {
  aws = new OnMocks();
  aws.secrets['webhook'] = JSON.stringify({ github: SECRETS.github });
  aws.config = `
version: 1
mirrors:
  - { source: ghcr.io/codertocat/hello-world, tags: all }
  - { source: ${REPOSITORY}, tags: all }`;
});
afterEach(() => {
  aws[Symbol.dispose]();
});

async function handle(event: unknown) {
  const { handler } = await import('../../../functions/webhook.ts');
  return handler(event, contextOf());
}

function request(): object {
  const { headers, body } = deliveryOf('github', GITHUB);
  return {
    rawPath: '/',
    rawQueryString: '',
    headers,
    body: Buffer.from(body).toString('base64'),
    isBase64Encoded: true,
    requestContext: { requestId: 'request-1', http: { method: 'POST' } },
  };
}

test('sends the pushes of a registry to the resolver, and logs that', async () => {
  expect(await handle(request())).toMatchObject({ statusCode: 202 });
  expect(aws.sent('resolve')).toMatchObject([
    { message: { source: 'ghcr.io/codertocat/hello-world', what: { images: [{ tag: '1.2' }] } }, isAbortable: true },
  ]);
  expect(aws.log).toContainEqual(
    expect.objectContaining({ level: 'INFO', message: 'webhook', sender: 'github', queued: 1 }),
  );
});

test('refuses a delivery with another secret', async () => {
  aws.secrets['webhook'] = JSON.stringify({ github: ['another-secret-0123456789'] });
  expect(await handle(request())).toMatchObject({ statusCode: 403 });
  expect(aws.sent('resolve')).toEqual([]);
  expect(aws.log).toContainEqual(expect.objectContaining({ level: 'WARN', message: 'webhook', status: 403 }));
});

test('names an invalid secret as the webhook secret', async () => {
  aws.secrets['webhook'] = '[]';
  expect(await handle(request())).toMatchObject({ statusCode: 503 });
  expect(aws.log).toContainEqual(
    expect.objectContaining({
      message: 'webhook not handled',
      reason: expect.stringContaining('the webhook secret') as string,
    }),
  );
});

describe('answers 503 and logs the reason', () => {
  beforeEach(() => {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => timeout(ms === 5_000 ? 1 : ms));
  });

  test('while Secrets Manager does not respond', async () => {
    aws.secrets['webhook'] = null;
    expect(await handle(request())).toMatchObject({ statusCode: 503 });
    expect(reason()).toMatch(/^read secret arn:\S+: no response within 5 s$/);
  });

  test('while S3 does not respond', async () => {
    aws.s3.ignore = () => true;
    expect(await handle(request())).toMatchObject({ statusCode: 503 });
    expect(reason()).toBe('read configuration s3://bucket/config/mirror.yaml: no response within 5 s');
  });

  function reason(): unknown {
    return aws.log.find(({ message }) => message === 'webhook not handled')?.['reason'];
  }
});

test('ignores a push to ECR while the configuration is missing, as a scheduled run does', async () => {
  aws.s3.objects.delete('config/mirror.yaml');
  expect(await handle(ECR)).toBeUndefined();
  expect(aws.sent('resolve')).toEqual([]);
  expect(aws.log).toContainEqual(
    expect.objectContaining({
      level: 'WARN',
      message: 'ECR event not handled',
      reason: expect.stringContaining('s3://bucket/config/mirror.yaml does not exist') as string,
    }),
  );
});

test('fails for a push to ECR while the configuration is invalid, so that Lambda repeats it', async () => {
  aws.config = 'version: 2';
  await expect(handle(ECR)).rejects.toThrow(/read configuration/);
});

test('sends the pushes of ECR to the resolver, and logs that', async () => {
  expect(await handle(ECR)).toBeUndefined();
  expect(aws.sent('resolve')).toMatchObject([{ message: { source: REPOSITORY }, isAbortable: true }]);
  expect(aws.log).toContainEqual(expect.objectContaining({ level: 'INFO', message: 'ECR event', queued: 1 }));
});

test('logs a push to ECR that it refuses as a warning', async () => {
  expect(await handle({ ...ECR, detail: {} })).toBeUndefined();
  expect(aws.sent('resolve')).toEqual([]);
  expect(aws.log).toContainEqual(
    expect.objectContaining({
      level: 'WARN',
      message: 'ECR event',
      kind: 'refused',
      reason: expect.any(String) as string,
    }),
  );
});

test.for([
  ['a load balancer', balancerEvent({ target: '/' })],
  ['a REST API', { httpMethod: 'POST', path: '/', headers: {}, requestContext: { requestId: 'request-1' } }],
  ['the console', {}],
  ['nothing', null],
  ['a text', 'x'],
] as const)('refuses the event of %s with a message that names the expected ones', async ([, event]) => {
  await expect(handle(event)).rejects.toThrow(
    'read event: expected a request of the function URL or an event of EventBridge; send an HTTP request instead of invoking ' +
      'the function',
  );
});
