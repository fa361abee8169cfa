import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder, type TempFolder } from './temp.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Ends a process that opens a connection, which proves that the package was made offline. */
const OFFLINE = `data:text/javascript,${encodeURIComponent(`
  import { Socket } from 'node:net';
  Socket.prototype.connect = () => {
    process.stderr.write('opened a connection\\n');
    process.exit(99);
  };
`)}`;

export const FUNCTIONS = ['resolver', 'layer', 'finalizer', 'webhook', 'dead-letters', 'runs'];
/** The function that only some deployments have. */
export const REGISTRY = 'registry';
export const QUEUES = ['ResolveQueue', 'LayerQueue', 'FinalizeQueue'];
export const DEAD_LETTERS = ['ResolveDeadLetters', 'LayerDeadLetters', 'FinalizeDeadLetters'];

export type Properties = Readonly<Record<string, unknown>>;

interface Resource {
  readonly Type: string;
  readonly Properties: Properties;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

export interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
}

interface Policy {
  readonly PolicyDocument: { readonly Statement: readonly Statement[] };
  /** The place of the file. */
  readonly Roles?: readonly { readonly Ref: string }[];
}

/** A package: the input of CloudFormation. */
export class Packaged implements AsyncDisposable {
  /** Path of the template. */
  readonly path: string;
  readonly resources: Readonly<Record<string, Resource>>;
  readonly outputs: Readonly<Record<string, { readonly Value: unknown }>>;
  /** The settings with which the framework deploys the template. */
  readonly provider: Properties;
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder, path: string, template: string, state: string) {
    const { Resources, Outputs } = JSON.parse(template) as {
      Resources: Packaged['resources'];
      Outputs: Packaged['outputs'];
    };
    this.path = path;
    this.resources = Resources;
    this.outputs = Outputs;
    this.provider = (JSON.parse(state) as { service: { provider: Properties } }).service.provider;
    this.#folder = folder;
  }

  static async read(folder: TempFolder): Promise<Packaged> {
    const path = folder.join('out/cloudformation-template-update-stack.json');
    const state = await readFile(folder.join('out/serverless-state.json'), 'utf8');
    return new Packaged(folder, path, await readFile(path, 'utf8'), state);
  }

  /** The zip archive of a function. */
  zip(name: string): Promise<Buffer> {
    return readFile(this.#folder.join('out', `${name}.zip`));
  }

  properties(id: string): Properties {
    const resource = this.resources[id];
    if (resource === undefined) throw new Error(`the template has no ${id}`);
    return resource.Properties;
  }

  /** Logical ids and properties. */
  ofType(type: string): [string, Properties][] {
    return Object.entries(this.resources)
      .filter(([, { Type }]) => Type === type)
      .map(([id, { Properties }]) => [id, Properties]);
  }

  /** The Lambda functions by their names. */
  get functions(): ReadonlyMap<string, Properties> {
    const all = this.ofType('AWS::Lambda::Function').map(([, properties]) => properties);
    return new Map(all.map((each) => [String(each['FunctionName']).replace('mirror-sync-prod-', ''), each]));
  }

  variables(name: string): Properties {
    return (this.functions.get(name)?.['Environment'] as { Variables: Properties }).Variables;
  }

  /** The permissions of the role with this name. */
  statements(role: string): Statement[] {
    const own = this.properties(role)['Policies'] as Policy[];
    const attached = this.ofType('AWS::IAM::Policy').map(([, policy]) => policy as unknown as Policy);
    const policies = [...own, ...attached.filter(({ Roles }) => Roles?.some(({ Ref }) => Ref === role))];
    return policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
  }

  /** The role of a function. */
  roleOf(name: string): string {
    return (this.functions.get(name)?.['Role'] as { 'Fn::GetAtt': [string] })['Fn::GetAtt'][0];
  }

  /** Every action of a function's role with every resource of it, and the condition: `s3:PutObject blobs/* if {…}`, sorted. */
  permissions(name: string): string[] {
    return this.statements(this.roleOf(name))
      .flatMap(({ Action, Resource, Condition }) => {
        const condition = Condition === undefined ? '' : ` if ${JSON.stringify(Condition)}`;
        const resources = [Resource].flat().map((one) => `${shortName(one)}${condition}`);
        return [Action].flat().flatMap((action) => resources.map((resource) => `${action} ${resource}`));
      })
      .toSorted();
  }

  /** The ids of the resources that hold data, sorted. */
  get withData(): string[] {
    const ids = ['AWS::SecretsManager::Secret', 'AWS::SQS::Queue'].flatMap((type) =>
      this.ofType(type).map(([id]) => id),
    );
    return ('ArchiveBucket' in this.resources ? ['ArchiveBucket', ...ids] : ids).toSorted();
  }

  /** The ids of the resources that the stack policy protects, sorted. */
  get protected(): string[] {
    const [, { Resource }] = this.provider['stackPolicy'] as [object, { Resource: string[] }];
    return Resource.map((id) => id.replace('LogicalResourceId/', '')).toSorted();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#folder.remove();
  }
}

/** A resource in readable form: its logical id, or its place in the archive's bucket. */
export function shortName(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const { Ref, 'Fn::GetAtt': attribute, 'Fn::Sub': text } = resource as Record<string, unknown>;
  if (Array.isArray(attribute)) return String(attribute[0]);
  return String(Ref ?? text)
    .replace(/^arn:\$\{AWS::Partition\}:s3:::/, '')
    .replace(/^\$\{ArchiveBucket\}\//, '');
}

/**
 * Packages the service as `npm run package` does, in a separate folder, with placeholders for the bundles, offline and without
 * credentials.
 *
 * @param parameters as in `--param name=value`
 * @param files beside serverless.yml, to be bundled
 * @param region options of the command line that name it
 */
export async function packaged(
  parameters: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string | Uint8Array>> = {},
  region: readonly string[] = ['--region', 'eu-central-1'],
): Promise<Packaged> {
  const folder = await tempFolder();
  try {
    await cp(join(ROOT, 'serverless.yml'), folder.join('serverless.yml'));
    await cp(join(ROOT, 'infra'), folder.join('infra'), { recursive: true });
    await symlink(join(ROOT, 'lib'), folder.join('lib'));
    await writeFile(folder.join('package.json'), '{"type":"module"}');
    for (const [name, content] of Object.entries(files)) await writeFile(folder.join(name), content);
    for (const name of [...FUNCTIONS, REGISTRY]) {
      for (const file of ['index.mjs', 'index.mjs.map'])
        await write(folder.join('dist/functions', name, file), `export const handler = '${name}';`);
    }
    const options = Object.entries(parameters).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
    await promisify(execFile)(
      process.execPath,
      [join(ROOT, 'node_modules/serverless/bin/serverless.js'), 'package', '--package', 'out', ...region, ...options],
      { cwd: folder.path, env: { HOME: folder.path, NODE_OPTIONS: `--import=${OFFLINE}` } },
    );
    return await Packaged.read(folder);
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** The names in a zip archive, from its central directory (APPNOTE.TXT, 4.3.12). */
export function namesInZip(zip: Buffer): string[] {
  const names: string[] = [];
  const signature = Buffer.from('PK\x01\x02', 'latin1');
  for (let at = zip.indexOf(signature); at >= 0; at = zip.indexOf(signature, at + 46)) {
    names.push(zip.toString('utf8', at + 46, at + 46 + zip.readUInt16LE(at + 28)));
  }
  return names;
}

/** cfn-lint: the path in MIRROR_SYNC_TEST_CFN_LINT, or the command on the path. */
export const CFN_LINT = [
  process.env['MIRROR_SYNC_TEST_CFN_LINT'] ?? '',
  ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'cfn-lint')),
].find((path) => path !== '' && existsSync(path));

/** The findings of cfn-lint in a template. */
export async function lint({ path }: Packaged): Promise<{ readonly stdout: string; readonly stderr: string }> {
  // W3005: the framework states twice that a function depends on its role, which is harmless.
  const options = ['--ignore-checks', 'W3005', '--regions', 'eu-central-1', '--', path];
  const said = promisify(execFile)(CFN_LINT ?? 'cfn-lint', options);
  const { stdout, stderr } = await said.catch((error: unknown) => error as { stdout: string; stderr: string });
  return { stdout, stderr };
}
