import { describe, expect, test } from 'vitest';
import { checkAddress } from '../../../lib/app/address.ts';

describe('the address of an archive', () => {
  test.each([
    ['s3:mirror/x', 'write s3://mirror/x'],
    ['s3:/mirror/x', 'write s3://mirror/x'],
    ['s3:', 'write s3://'],
    ['s3a://mirror/x', 'write s3://mirror/x'],
    ['arn:aws:s3:::mirror/x', 'write s3://mirror/x'],
    ['arn:aws-cn:s3:::mirror/x', 'write s3://mirror/x'],
    ['gs://mirror/x', 'write s3://mirror/x and set AWS_ENDPOINT_URL_S3=https://storage.googleapis.com'],
    ['az://mirror/x', 'write s3://bucket/prefix and set AWS_ENDPOINT_URL_S3'],
    ['https://mirror.s3.amazonaws.com/x', 'write s3://bucket/prefix'],
    ['HTTP://127.0.0.1:9000/mirror', 'write s3://bucket/prefix'],
    ['oci:x', 'write the folder alone: ./x'],
    ['oci:x:latest', 'write the folder alone'],
    ['ocidir://x', 'write the folder alone: ./x'],
    ['dir:./x', 'write the folder alone: ./x'],
    ['dir:x', 'write the folder alone: ./x'],
    ['oci:/srv/x', 'write the folder alone: /srv/x'],
    ['file:///srv/x', 'write the folder alone: /srv/x'],
    ['file:x', 'write the folder alone: ./x'],
    ['file:./x', 'write the folder alone: ./x'],
    ['docker://host/x', 'not a registry'],
    ['docker-daemon:alpine:3', 'not a registry'],
    ['localhost:5000/x', 'an archive is a folder or s3://bucket/prefix'],
    ['nonsense:x', 'an archive is a folder or s3://bucket/prefix'],
    ['a b:c', 'an archive is a folder'],
    ['~/x', 'write $HOME'],
    ['~', 'write $HOME'],
    ['~user/x', 'write $HOME'],
    ['', 'is empty'],
  ])('%j is refused with the probable intention', (name, meant) => {
    expect(() => checkAddress(name)).toThrow(meant);
    try {
      checkAddress(name);
    } catch (error) {
      expect(error).toMatchObject({ side: 'input', code: 'invalid' });
      if (name !== '') expect((error as Error).message).toContain(`./${name}`);
    }
  });

  test.each([
    's3://mirror/x',
    'S3://mirror/x',
    'archive',
    './archive',
    '../archive',
    '/srv/archive',
    './s3:mirror',
    './~/x',
    'a/b:c',
    '/srv/a:b',
    'a~b',
    '.',
    ':x',
  ])('%j is accepted as a folder or bucket', (name) => {
    expect(() => checkAddress(name)).not.toThrow();
  });
});
