/** Files in .github and the root folder that nothing in a checkout executes. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '../../..');

interface Step {
  readonly uses?: string;
  readonly run?: string;
}

interface Workflow {
  readonly on: object;
  readonly permissions?: object;
  readonly jobs: Readonly<Record<string, { readonly steps: readonly Step[]; readonly 'timeout-minutes'?: number }>>;
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  readonly scripts: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
};

const WORKFLOWS = [...globSync('.github/workflows/*.yml', { cwd: ROOT }), 'examples/ci/github-actions.yml'];

describe.each(WORKFLOWS)('the workflow %s', (path) => {
  const text = read(path);
  const workflow = parse(text) as Workflow;
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  test('pins each action by its commit, with the version in a comment', () => {
    for (const [, uses] of text.matchAll(/^ *(?:- )?uses: (.*)$/gm))
      expect(uses).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test('starts without write permissions, and limits the time of each job', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' });
    for (const job of Object.values(workflow.jobs)) expect(job['timeout-minutes']).toBeGreaterThan(0);
    expect(text).not.toContain('pull_request_target');
  });

  test('runs only scripts that exist', () => {
    for (const { run = '' } of steps) {
      for (const [, name = ''] of run.matchAll(/npm run (?:-s )?([\w:]+)/g))
        expect(manifest.scripts).toHaveProperty([name]);
      for (const [file] of run.matchAll(/(?:\.ci|scripts)\/[\w.-]+/g))
        expect(existsSync(join(ROOT, file)), file).toBe(true);
    }
  });
});

describe('the workflows', () => {
  test('run .ci/run for each change, and .ci/nightly each night', () => {
    expect(read('.github/workflows/ci.yml')).toContain('run: .ci/run\n');
    expect(read('.github/workflows/nightly.yml')).toContain('run: .ci/nightly\n');
  });
});

describe('the issue forms', () => {
  test.each(['bug', 'feature'])('have a name, a description and fields with an id: %s', (name) => {
    const form = parse(read(`.github/ISSUE_TEMPLATE/${name}.yml`)) as {
      readonly name: string;
      readonly description: string;
      readonly body: readonly { readonly type: string; readonly id?: string }[];
    };
    expect(form).toMatchObject({ name: expect.any(String), description: expect.any(String) });
    const fields = form.body.filter(({ type }) => type !== 'markdown');
    expect(fields.map(({ id }) => id)).not.toContain(undefined);
    expect(new Set(fields.map(({ id }) => id)).size).toBe(fields.length);
  });
});

describe('.nvmrc', () => {
  test('names the oldest Node.js that package.json allows', () => {
    expect(`>=${read('.nvmrc').trim()}`).toBe(manifest.engines.node);
  });
});
