/** The programs that the benchmarks compare with, and those that they need. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

interface Tool {
  /** How to install it. */
  readonly from: string;
  /** The arguments that print its version. */
  readonly version: readonly string[];
}

const TOOLS = {
  crane: { from: 'go install github.com/google/go-containerregistry/cmd/crane@latest', version: ['version'] },
  regctl: { from: 'go install github.com/regclient/regclient/cmd/regctl@latest', version: ['version'] },
  regsync: { from: 'go install github.com/regclient/regclient/cmd/regsync@latest', version: ['version'] },
  skopeo: { from: 'apt install skopeo', version: ['--version'] },
  'docker-registry': { from: 'apt install docker-registry', version: ['--version'] },
  'toxiproxy-server': { from: 'go install github.com/Shopify/toxiproxy/v2/cmd/server@latest', version: ['-version'] },
  versitygw: { from: 'go install github.com/versity/versitygw/cmd/versitygw@v1.8.0', version: ['--version'] },
  gzip: { from: 'apt install gzip', version: ['--version'] },
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

/** `go install` names a program after its folder. */
const ALSO: Partial<Record<ToolName, string>> = { 'toxiproxy-server': 'server' };

export class Tools {
  readonly #paths: ReadonlyMap<ToolName, string>;

  constructor(env: NodeJS.ProcessEnv = process.env) {
    const names = Object.keys(TOOLS) as ToolName[];
    this.#paths = new Map(
      names.flatMap((name) => {
        const path = find(name, pathFolders(env)) ?? find(name, goFolders(env)) ?? find(ALSO[name], goFolders(env));
        return path === undefined ? [] : [[name, path] as const];
      }),
    );
  }

  /** Its path; if it is not installed, its name, for a command that is never run. */
  path(name: ToolName): string {
    return this.#paths.get(name) ?? name;
  }

  /** The reason why these programs cannot be used; undefined if they can. */
  lacks(names: readonly ToolName[]): string | undefined {
    const missing = names.filter((name) => !this.#paths.has(name));
    if (missing.length === 0) return undefined;
    return missing.map((name) => `${name} is not installed (${TOOLS[name].from})`).join('; ');
  }

  /** `crane 0.22.1, skopeo 1.9.3, …` */
  async versions(): Promise<string> {
    const told = await Promise.all([...this.#paths].map(([name, path]) => version(name, path)));
    return told.join(', ');
  }
}

async function version(name: ToolName, path: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(path, TOOLS[name].version, { timeout: 5000 });
  const told = /\d+\.\d+[\w.+~-]*/.exec(stdout + stderr)?.[0];
  return `${name} ${told ?? (await goVersion(path)) ?? '(no version)'}`;
}

/** The version that `go install` was given; Go records it in the program. */
async function goVersion(path: string): Promise<string | undefined> {
  const program = await readFile(path);
  const at = program.indexOf('\nmod\t');
  if (at === -1) return undefined;
  return /^\nmod\t\S+\tv(\S+)/.exec(program.toString('latin1', at, at + 300))?.[1];
}

function find(name: string | undefined, folders: readonly string[]): string | undefined {
  if (name === undefined) return undefined;
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function pathFolders({ PATH = '' }: NodeJS.ProcessEnv): string[] {
  return PATH.split(delimiter).filter((folder) => folder !== '');
}

/** The folder of `go install`, which may be missing from the PATH. */
function goFolders({ GOBIN, GOPATH }: NodeJS.ProcessEnv): string[] {
  const paths = GOPATH === undefined ? [join(homedir(), 'go')] : GOPATH.split(delimiter);
  return [...(GOBIN === undefined ? [] : [GOBIN]), ...paths.map((path) => join(path, 'bin'))];
}
