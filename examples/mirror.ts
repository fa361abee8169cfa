// Mirrors an image into each archive, lists the archive's tags, and verifies it:
//   npm install ./mirror-sync-*.tgz && node mirror.ts alpine:3.20 ./archive s3://bucket/prefix
// mirror-sync is not published yet: build the package in a clone with `npm ci && npm pack`, and copy it here.
import { openArchive, sync, verify } from 'mirror-sync';

const [image = 'alpine:3.20', ...addresses] = process.argv.slice(2);

for (const address of addresses) {
  await using archive = await openArchive(address, { create: true });

  const { mirrored, unchanged, images } = await sync([image], { to: archive, platforms: ['linux/amd64'] });
  console.log(`${archive.name}: ${mirrored} mirrored, ${unchanged} unchanged`);
  for (const { reference, status, reason } of images) console.log(`  ${reference}: ${reason ?? status}`);

  for await (const repository of archive.repositories())
    for (const { tag, digest } of await archive.tagIndex(repository))
      console.log(`  ${repository} ${tag ?? '(no tag)'} is ${digest}`);

  const { objects, problems } = await verify(archive);
  console.log(`  ${objects} objects verified, ${problems.length} problems`);
  if (problems.length > 0) process.exitCode = 1;
}
