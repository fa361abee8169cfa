#!/usr/bin/env node
/**
 * The packed command line begins here: older releases of Node.js are refused before anything is imported that they lack.
 * Node.js 18 reads this file, so it has no newer syntax.
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
