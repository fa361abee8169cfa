/**
 * The permissions that AWS requires for a request: actions and resources (Service Authorization Reference: Amazon S3,
 * Amazon SQS, AWS Secrets Manager, Amazon EventBridge). Pure.
 */
import type { Statement } from '../packaged.ts';

/** A permission that a request needs. */
export interface Need {
  readonly action: string;
  readonly resource: string;
  /** `s3:prefix`, if a listing has one. */
  readonly prefix?: string;
}

/** An S3 request, addressed by path. */
export function needsOfS3(
  method: string,
  url: URL,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Need[] {
  const [, bucket = '', ...rest] = url.pathname.split('/').map(decodeURIComponent);
  const key = rest.join('/');
  const arn = `arn:aws:s3:::${bucket}`;
  const has = (name: string): boolean => url.searchParams.has(name);
  if (key === '') {
    if (method === 'GET' && has('uploads')) return [{ action: 's3:ListBucketMultipartUploads', resource: arn }];
    if (method !== 'GET' || !has('list-type')) throw new Error(`not known to the kit: ${method} ${url.href}`);
    return [{ action: 's3:ListBucket', resource: arn, prefix: url.searchParams.get('prefix') ?? '' }];
  }
  const need = (action: string): Need => ({ action, resource: `${arn}/${key}` });
  // A client that names the version to replace learns whether that version exists.
  const onVersion = headers['if-match'] === undefined ? [] : [need('s3:GetObject')];
  switch (method) {
    case 'HEAD':
      return [need('s3:GetObject')];
    case 'GET':
      return [need(has('uploadId') ? 's3:ListMultipartUploadParts' : 's3:GetObject')];
    case 'PUT':
    case 'POST':
      return [need('s3:PutObject'), ...onVersion];
    case 'DELETE':
      return has('uploadId') ? [need('s3:AbortMultipartUpload')] : [need('s3:DeleteObject'), ...onVersion];
    default:
      throw new Error(`not known to the kit: ${method} ${url.href}`);
  }
}

interface Body {
  readonly QueueUrl?: string;
  readonly SecretId?: string;
  readonly Entries?: readonly { readonly EventBusName?: string }[];
}

/** A request of AWS's JSON protocol, by its X-Amz-Target. */
export function needsOfTarget(target: string, body: unknown, names: CloudNames): Need[] {
  const { QueueUrl = '', SecretId = '', Entries = [] } = body as Body;
  const [service, operation = ''] = target.split('.');
  switch (service) {
    case 'AmazonSQS':
      // A batch needs the permissions of its entries.
      return [{ action: `sqs:${operation.replace(/Batch$/, '')}`, resource: names.queueArn(QueueUrl) }];
    case 'secretsmanager':
      return [{ action: `secretsmanager:${operation}`, resource: SecretId }];
    case 'AmazonEC2ContainerRegistry_V20150921':
      return [{ action: `ecr:${operation}`, resource: '*' }];
    case 'AWSEvents':
      return Entries.map(({ EventBusName = 'default' }) => ({
        action: `events:${operation}`,
        resource: resolved({ 'Fn::Sub': `${BUSES}${EventBusName}` }, names) as string,
      }));
    default:
      throw new Error(`not known to the kit: ${target}`);
  }
}

const BUSES = 'arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/';

/** The resources of the template on this machine. */
export interface CloudNames {
  /** The value of a reference to a resource or of a pseudo parameter. */
  readonly ref: Readonly<Record<string, string>>;
  readonly arn: Readonly<Record<string, string>>;
  readonly queueArn: (url: string) => string;
}

/** A value of the template with its references resolved: `Ref`, `Fn::GetAtt` of an ARN, `Fn::Sub`. */
export function resolved(value: unknown, names: CloudNames): unknown {
  const known = (table: CloudNames['ref'], name: string): string => {
    const found = table[name];
    if (found === undefined) throw new Error(`the kit has no ${name}`);
    return found;
  };
  if (Array.isArray(value)) return value.map((each) => resolved(each, names));
  if (typeof value !== 'object' || value === null) return value;
  const { Ref, 'Fn::GetAtt': attribute, 'Fn::Sub': text } = value as Record<string, unknown>;
  if (typeof Ref === 'string') return known(names.ref, Ref);
  if (Array.isArray(attribute)) return known(names.arn, String(attribute[0]));
  if (typeof text === 'string') return text.replaceAll(/\$\{([^}]+)\}/g, (_, name: string) => known(names.ref, name));
  if (Object.keys(value).some((key) => key.startsWith('Fn::')))
    throw new Error(`the kit cannot resolve ${JSON.stringify(value)}`);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolved(each, names)]));
}

/** The account of all resources of a test. */
const ACCOUNT = '000000000000';

/** Whether a role with these statements (resolved) has the permission. */
export function allows(statements: readonly Statement[], { action, resource, prefix }: Need): boolean {
  return statements.some(({ Effect, Action, Resource, Condition = {} }) => {
    if (Effect !== 'Allow') throw new Error(`the kit knows no ${Effect}`);
    return (
      [Action].flat().includes(action) &&
      [Resource].flat().some((one) => matches(String(one), resource)) &&
      meets(Condition as Conditions, prefix)
    );
  });
}

type Conditions = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The conditions of the roles: the bucket's account, and the prefix of a listing. */
function meets(conditions: Conditions, prefix: string | undefined): boolean {
  const each = Object.entries(conditions).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, value]) => [`${operator} ${key}`, value] as const),
  );
  return each.every(([condition, value]) => {
    switch (condition) {
      case 'StringEquals aws:ResourceAccount':
        return value === ACCOUNT;
      case 'StringLikeIfExists s3:prefix':
        return prefix === undefined || matches(value, prefix);
      default:
        throw new Error(`the kit does not know the condition ${condition}`);
    }
  });
}

function matches(pattern: string, text: string): boolean {
  const [head = '', ...parts] = pattern.split('*').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${[head, ...parts].join('.*')}$`, 's').test(text);
}
