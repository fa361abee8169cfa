import { afterAll, describe } from 'vitest';
import { type S3Server, startS3Server } from './s3-server.ts';
import { skippedFor } from './skipped.ts';

/** Tests that need an S3 server, which ends after them. Without one, they are skipped with the reason. */
export async function describeWithS3(title: string, tests: (server: S3Server) => void): Promise<void> {
  const server = await startS3Server();
  describe(title, () => {
    if ('skipped' in server) {
      skippedFor(server.skipped);
      return;
    }
    // Hooks run in reverse order, so those of the tests run before.
    afterAll(() => server.close());
    tests(server);
  });
}
