import { expect, test } from 'vitest';
import { allows, needsOfS3 } from '../../kit/lambda/iam.ts';

function needs(method: string, path: string, headers: Record<string, string> = {}): string[] {
  return needsOfS3(method, new URL(path, 'http://s3'), headers).map(({ action, resource }) =>
    `${action} ${resource}`.replace('arn:aws:s3:::', ''),
  );
}

test.for([
  ['HEAD', '/b/blobs/sha256/1', ['s3:GetObject b/blobs/sha256/1']],
  ['GET', '/b/a%2Bb', ['s3:GetObject b/a+b']],
  ['GET', '/b/k?uploadId=1', ['s3:ListMultipartUploadParts b/k']],
  ['GET', '/b/?list-type=2&prefix=x', ['s3:ListBucket b']],
  ['GET', '/b?uploads', ['s3:ListBucketMultipartUploads b']],
  ['PUT', '/b/k?partNumber=1&uploadId=1', ['s3:PutObject b/k']],
  ['POST', '/b/k?uploads', ['s3:PutObject b/k']],
  ['DELETE', '/b/k?uploadId=1', ['s3:AbortMultipartUpload b/k']],
  ['DELETE', '/b/k', ['s3:DeleteObject b/k']],
] as const)('%s %s requires the permission of AWS', ([method, path, expected]) => {
  expect(needs(method, path)).toEqual(expected);
});

test('a conditional write also requires the permission to read', () => {
  expect(needs('PUT', '/b/k', { 'if-match': '"1"' })).toEqual(['s3:PutObject b/k', 's3:GetObject b/k']);
  expect(needs('PUT', '/b/k', { 'if-none-match': '*' })).toEqual(['s3:PutObject b/k']);
});

test('a role allows the actions of its statements, and listings only below its prefix', () => {
  const role = [
    { Effect: 'Allow', Action: 's3:GetObject', Resource: ['arn:aws:s3:::b/blobs/*', 'arn:aws:s3:::b/c.yaml'] },
    {
      Effect: 'Allow',
      Action: ['s3:ListBucket'],
      Resource: 'arn:aws:s3:::b',
      Condition: { StringLikeIfExists: { 's3:prefix': 'mine/*' } },
    },
  ];
  const may = (action: string, resource: string, prefix?: string): boolean =>
    allows(role, { action, resource: `arn:aws:s3:::${resource}`, ...(prefix === undefined ? {} : { prefix }) });
  expect(may('s3:GetObject', 'b/blobs/sha256/1')).toBe(true);
  expect(may('s3:GetObject', 'b/c.yaml')).toBe(true);
  expect(may('s3:GetObject', 'b/c-yaml')).toBe(false);
  expect(may('s3:PutObject', 'b/blobs/sha256/1')).toBe(false);
  expect(may('s3:ListBucket', 'b')).toBe(true);
  expect(may('s3:ListBucket', 'b', 'mine/x')).toBe(true);
  expect(may('s3:ListBucket', 'b', 'other/')).toBe(false);
});

test('a role allows nothing in a bucket of another account', () => {
  const role = (account: string) => [
    {
      Effect: 'Allow',
      Action: 's3:GetObject',
      Resource: 'arn:aws:s3:::b/*',
      Condition: { StringEquals: { 'aws:ResourceAccount': account } },
    },
  ];
  const need = { action: 's3:GetObject', resource: 'arn:aws:s3:::b/k' };
  expect(allows(role('000000000000'), need)).toBe(true);
  expect(allows(role('111111111111'), need)).toBe(false);
});
