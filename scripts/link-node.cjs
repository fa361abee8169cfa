'use strict';
/*
 * Makes `node` the project's own Node.js in every npm script. It runs after `npm ci` and `npm install`, on the Node.js
 * that npm runs on, so its syntax is that of Node.js 18. It is the script `postprepare`, because npm warns when it
 * installs a packed file that has a script `prepare`.
 *
 * The binaries are the optional dependencies of scripts/node-runtime: npm takes the one for this platform, and
 * package-lock.json pins it by its SHA-512. npm 11 links it into node_modules/.bin; npm 10 does not link the commands of a
 * dependency's optional dependencies. An optional dependency that fails to install does not fail npm; this script fails instead.
 */
const fs = require('fs');
const path = require('path');

const root = path.join(__dirname, '..');
const packages = Object.keys(require('./node-runtime/package.json').optionalDependencies);
const wanted = `${process.platform}-${process.arch}`;
const name = packages.find((each) => each.endsWith(wanted));

if (name === undefined) {
  const known = packages.map((each) => each.replace(/^node-(bin-)?/, '')).join(', ');
  console.error(
    `set up Node.js 24: npm has no binary of it for ${wanted} (it has ${known}); use Node.js 24 to run npm`,
  );
} else {
  const binary = path.join(root, 'node_modules', name, 'bin', 'node');
  if (!fs.existsSync(binary)) {
    console.error(`set up Node.js 24: ${name} was not installed; run npm ci again`);
    process.exit(1);
  }
  const bin = path.join(root, 'node_modules', '.bin');
  fs.mkdirSync(bin, { recursive: true });
  const link = path.join(bin, 'node');
  fs.rmSync(link, { force: true });
  fs.symlinkSync(path.relative(bin, binary), link);
}
