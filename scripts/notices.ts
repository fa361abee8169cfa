/**
 * The licences of the packages in a bundle, and their CycloneDX list. `npm sbom` lists the installed packages instead of the
 * bundled ones.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';
import { ROOT } from './bundle.ts';

interface Locked {
  readonly version: string;
  readonly integrity: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
}

export interface Bundled extends Locked {
  readonly name: string;
  /** Its folder: `node_modules/undici`. */
  readonly path: string;
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The packages that contribute bytes to these bundles, sorted by name. */
export function bundledPackages(metafiles: readonly Metafile[]): Bundled[] {
  const { packages } = JSON.parse(read('package-lock.json')) as { readonly packages: Readonly<Record<string, Locked>> };
  const inputs = metafiles
    .flatMap(({ outputs }) => Object.values(outputs))
    .flatMap(({ inputs: of }) => Object.entries(of))
    .flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : []));
  const paths = new Set(inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  return [...paths].sort().map((path) => {
    const locked = new Map(Object.entries(packages)).get(path);
    if (locked === undefined) throw new Error(`list bundled packages: ${path} is not in package-lock.json; run npm ci`);
    return { ...locked, path, name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length) };
  });
}

/** The text of THIRD-PARTY-NOTICES.txt: each licence once, below the packages that it covers. */
export function noticesOf(packages: readonly Bundled[]): string {
  const byText = Map.groupBy(packages, (each) => licenceText(each, packages));
  const sections = [...byText].map(([text, covered]) => {
    const names = covered.map(({ name, version, license }) => `${name} ${version} (${license ?? 'see below'})`);
    return `${names.join('\n')}\n\n${text}\n`;
  });
  const head = 'The program in this package contains code of the packages below, under these licences.\n';
  return [head, ...sections].join(`\n${'='.repeat(80)}\n\n`);
}

/** A package without a licence file has the text of another package of its scope and licence: both are of one project. */
function licenceText(of: Bundled, packages: readonly Bundled[]): string {
  const isSibling = ({ name, license }: Bundled): boolean =>
    license === of.license && name.startsWith('@') && name.split('/')[0] === of.name.split('/')[0];
  for (const { path } of [of, ...packages.filter(isSibling)]) {
    const files = globSync(`${path}/{LICEN[CS]E,licen[cs]e,COPYING,NOTICE}*`, { cwd: ROOT }).sort();
    if (files.length > 0) return files.map((file) => read(file).replaceAll('\r\n', '\n').trim()).join('\n\n');
  }
  throw new Error(`write licence notices: ${of.name} has no licence file; add the text of its licence`);
}

/** A CycloneDX document. It has no time and no serial number, so the same sources give the same bytes. */
export function sbomOf(packages: readonly Bundled[]): string {
  const { name, version, description, license } = JSON.parse(read('package.json')) as Manifest;
  const root = `${name}@${version}`;
  const byPath = new Map(packages.map((each) => [each.path, each]));
  const isDependency = new Set<Bundled>();
  const graph = packages.map((each) => {
    const found = Object.keys(each.dependencies ?? {}).flatMap(
      (dependency) => resolved(dependency, each, byPath) ?? [],
    );
    for (const one of found) isDependency.add(one);
    return { ref: purl(each), dependsOn: found.map(purl).sort() };
  });
  const direct = packages.filter((each) => !isDependency.has(each)).map(purl);
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      component: {
        'bom-ref': root,
        type: 'application',
        name,
        version,
        description,
        purl: `pkg:npm/${root}`,
        licenses: [{ license: { id: license } }],
      },
    },
    components: packages.map((each) => ({
      'bom-ref': purl(each),
      type: 'library',
      name: each.name,
      version: each.version,
      purl: purl(each),
      scope: 'required',
      hashes: [{ alg: 'SHA-512', content: hexOf(each.integrity) }],
      licenses: each.license === undefined ? [] : [{ license: { id: each.license } }],
    })),
    dependencies: [{ ref: root, dependsOn: direct }, ...graph],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Resolves a dependency like Node.js: in the package's node_modules, or in one above it. */
function resolved(name: string, { path }: Bundled, byPath: ReadonlyMap<string, Bundled>): Bundled | undefined {
  for (let above = path; above !== ''; above = above.slice(0, Math.max(0, above.lastIndexOf('/node_modules/')))) {
    const found = byPath.get(`${above}/node_modules/${name}`);
    if (found !== undefined) return found;
  }
  return byPath.get(`node_modules/${name}`);
}

/** https://github.com/package-url/purl-spec: only the `@` of a scope is escaped. */
function purl({ name, version }: Bundled): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function hexOf(integrity: string): string {
  return Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');
}
