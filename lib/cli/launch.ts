#!/usr/bin/env node
/**
 * The entry point of the package. It refuses older releases of Node.js before they fail on an import. This file must be valid
 * in Node.js 18.
 */
const REQUIRED = 24;

const [major = '0'] = process.versions.node.split('.');
if (Number(major) < REQUIRED) {
  process.stderr.write(`mirror-sync needs Node.js ${REQUIRED} or newer; this is ${process.versions.node}\n`);
  process.exitCode = 2;
} else {
  const { start } = await import('./main.ts');
  await start();
}
