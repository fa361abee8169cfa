import { packaged, type Statement } from '../packaged.ts';
import type { TestQueue } from '../sqs-server.ts';
import { type CloudNames, resolved } from './iam.ts';

/** The settings of a function in the template, with the names of this machine. */
export interface FromTemplate {
  readonly statements: readonly Statement[];
  readonly variables: Readonly<Record<string, string>>;
}

/** Existing resources, instead of those that the template creates. */
export interface Cloud {
  readonly queues: Readonly<Record<'resolve' | 'layer' | 'finalize', TestQueue>>;
  readonly bucket: string;
  /** ARNs. */
  readonly secrets: { readonly credentials: string; readonly webhook: string };
}

/** The templates of `npm run package`, built once per process, so that the tests run what is deployed. */
const templates = new Map<string, ReturnType<typeof packaged>>();

export async function fromTemplate(
  name: string,
  names: CloudNames,
  parameters: Readonly<Record<string, string>> = { ecrPull: 'on' },
): Promise<FromTemplate> {
  const key = JSON.stringify(parameters);
  const template = templates.get(key) ?? packaged(parameters);
  templates.set(key, template);
  const read = await template;
  await read[Symbol.asyncDispose]();
  const logs = ({ Action }: Statement): boolean => [Action].flat().every((action) => action.startsWith('logs:'));
  return {
    statements: read
      .statements(read.roleOf(name))
      .filter((statement) => !logs(statement))
      .map((statement) => ({
        ...statement,
        Resource: resolved(statement.Resource, names),
        Condition: resolved(statement.Condition, names),
      })),
    variables: Object.fromEntries(
      Object.entries(read.variables(name))
        // CloudFormation leaves out such a variable.
        .filter(([, value]) => JSON.stringify(value) !== '{"Ref":"AWS::NoValue"}')
        .map(([variable, value]) => [variable, String(resolved(value, names))]),
    ),
  };
}

/** @param endpoint where a function reaches its queues */
export function namesOf({ queues, bucket, secrets }: Cloud, endpoint: string): CloudNames {
  const all = Object.values(queues).flatMap((queue) => [queue, queue.deadLetters]);
  const at = ({ url }: TestQueue): string => new URL(new URL(url).pathname, endpoint).href;
  const { resolve, layer, finalize } = queues;
  return {
    ref: {
      ResolveQueue: at(resolve),
      LayerQueue: at(layer),
      FinalizeQueue: at(finalize),
      ArchiveBucket: bucket,
      CredentialsSecret: secrets.credentials,
      WebhookSecret: secrets.webhook,
      'AWS::Partition': 'aws',
      'AWS::Region': 'eu-central-1',
      'AWS::AccountId': '000000000000',
    },
    arn: {
      ResolveQueue: resolve.arn,
      ResolveDeadLetters: resolve.deadLetters.arn,
      LayerQueue: layer.arn,
      LayerDeadLetters: layer.deadLetters.arn,
      FinalizeQueue: finalize.arn,
      FinalizeDeadLetters: finalize.deadLetters.arn,
      // Lambda itself sends to it with the function's role; no function does.
      Undelivered: 'arn:aws:sqs:eu-central-1:000000000000:undelivered',
    },
    queueArn: (url) => {
      const queue = all.find((one) => new URL(one.url).pathname === new URL(url).pathname);
      if (queue === undefined) throw new Error(`unknown queue ${url}`);
      return queue.arn;
    },
  };
}
