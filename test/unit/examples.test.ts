/** The examples in examples/: mirror-sync accepts each command, and each file has the form that its reader expects. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { runMain } from '../kit/in-process.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');

interface CronJob {
  readonly kind: 'CronJob';
  readonly spec: {
    readonly schedule: string;
    readonly jobTemplate: { readonly spec: { readonly template: { readonly spec: Pod } } };
  };
}

interface Pod {
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  }[];
  readonly volumes: readonly { readonly name: string }[];
}

interface ConfigMap {
  readonly kind: 'ConfigMap';
  readonly data: Readonly<Record<string, string>>;
}

const read = (path: string): string => readFileSync(join(EXAMPLES, path), 'utf8');

/** Fails unless `mirror-sync help COMMAND` names each option of the command line. */
async function expectKnown([command = '', ...args]: readonly string[]): Promise<void> {
  const help = await runMain(['help', command]);
  expect(help.stdout).toMatch(new RegExp(`^mirror-sync ${command}: `));
  for (const option of args.filter((arg) => arg.startsWith('-'))) expect(help.stdout).toContain(`  ${option}`);
}

/** The commands of a text on lines of their own, or after a prefix. */
function commandsIn(text: string, prefix: RegExp): string[][] {
  return text.split('\n').flatMap((line) => {
    const [, words] = prefix.exec(line) ?? [];
    return words === undefined ? [] : [words.split(' ')];
  });
}

const SCHEDULE = String.raw`(?:(?:\*|\d+)(?:\/\d+)? ){5}`;

describe('the examples', () => {
  test('for cron has a schedule, a user and a known command', async () => {
    const line = new RegExp(String.raw`^${SCHEDULE}mirror-sync flock --nonblock \S+ mirror-sync ([^%]+)$`);
    const commands = commandsIn(read('cron/mirror-sync'), line);
    expect(commands).toHaveLength(1);
    await expectKnown(commands[0]!);
  });

  test('for systemd starts a known command, which the timer of the same name starts', async () => {
    const commands = commandsIn(read('systemd/mirror-sync.service'), /^ExecStart=\/usr\/local\/bin\/mirror-sync (.*)$/);
    expect(commands).toHaveLength(1);
    await expectKnown(commands[0]!);
    expect(read('systemd/mirror-sync.timer')).toMatch(/^OnCalendar=\*-\*-\* 00\/6:17:00$/m);
  });

  test('for Kubernetes has a valid mirror.yaml, a known command, and a volume for each mount', async () => {
    const [config, job] = parseAllDocuments(read('kubernetes/cronjob.yaml')).map((each) => each.toJS() as unknown) as [
      ConfigMap,
      CronJob,
    ];
    expect([config.kind, job.kind]).toEqual(['ConfigMap', 'CronJob']);
    expect(await runMain(['check', '-'], { stdin: config.data['mirror.yaml']! })).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect(`${job.spec.schedule} `).toMatch(new RegExp(`^${SCHEDULE}$`));
    const { containers, volumes } = job.spec.jobTemplate.spec.template.spec;
    const [{ args, volumeMounts }] = containers as [Pod['containers'][number]];
    await expectKnown(args);
    expect(volumeMounts.map(({ name }) => name).sort()).toEqual(volumes.map(({ name }) => name).sort());
    for (const path of args.filter((arg) => arg.startsWith('/')))
      expect(
        volumeMounts.some(({ mountPath }) => path.startsWith(`${mountPath}/`)),
        path,
      ).toBe(true);
  });

  // Another person could register the name, and the job has credentials.
  test('install nothing from a public registry under the name of this project', () => {
    for (const path of readdirSync(EXAMPLES, { recursive: true, encoding: 'utf8' }).filter((each) =>
      each.includes('.'),
    ))
      expect(read(path), path).not.toMatch(/npm (install|i|exec) .*(?<![./\w-])mirror-sync|npx |ghcr\.io\/mirror-sync/);
  });

  test('for GitHub Actions runs known commands', async () => {
    const text = read('ci/github-actions.yml');
    expect(parse(text)).toHaveProperty(['jobs', 'mirror']);
    const commands = commandsIn(text, /- run: mirror-sync (.*)$/);
    expect(commands.map(([name]) => name)).toEqual(['check', 'sync']);
    for (const command of commands) await expectKnown(command);
  });
});
