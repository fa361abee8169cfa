/** The registry, which a deployment has with `registry=on` or `registry=alb`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Environment, readEnvironment } from '../../../lib/config/environment.ts';
import { CFN_LINT, lint, namesInZip, packaged, type Packaged, type Properties, REGISTRY } from '../../kit/packaged.ts';

const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const CERTIFICATE = 'arn:aws:acm:eu-central-1:123456789012:certificate/1234abcd-12ab-34cd-56ef-1234567890ab';
const SUBNETS = ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'];
const BALANCER = {
  registry: 'alb',
  registryVpc: 'vpc-0123456789abcdef0',
  registrySubnets: SUBNETS.join(),
  registryCertificate: CERTIFICATE,
  registryDomain: 'registry.example.com',
};

let off: Packaged;
let on: Packaged;
let alb: Packaged;
let filling: Packaged;

beforeAll(async () => {
  [off, on, alb, filling] = await Promise.all([
    packaged(),
    packaged({ registry: 'on', registryDefaultHost: 'docker.io' }),
    packaged({
      ...BALANCER,
      registryAccess: 'public',
      registryConcurrency: 'off',
      registryMemory: '1024',
      registryClients: '10.0.0.0/8,192.168.0.0/16',
      kmsKey: KEY,
      prefix: 'mirror/',
    }),
    packaged({ registry: 'on', registryFill: 'on', kmsKey: KEY }),
  ]);
});

afterAll(() => Promise.all([off, on, alb, filling].map((each) => each[Symbol.asyncDispose]())));

const arn = (id: string): object => ({ 'Fn::GetAtt': [id, 'Arn'] });
const ref = (id: string): object => ({ Ref: id });
const idsOf = ({ resources }: Packaged): string[] => Object.keys(resources).filter((id) => id.startsWith('Registry'));

describe('a deployment without the registry', () => {
  test('has none of its resources', () => {
    expect(idsOf(off)).toEqual([]);
    expect([...off.functions.keys()]).not.toContain(REGISTRY);
  });
});

describe('the registry function', () => {
  test('has a secret for tokens that an update never replaces', () => {
    expect(on.protected).toContain('RegistryTokens');
    for (const each of [on, alb]) expect(each.protected).toEqual(each.withData);
  });

  test('has its bundle, its variables and a reserved concurrency', async () => {
    expect(on.functions.get(REGISTRY)).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      Handler: 'dist/functions/registry/index.handler',
      MemorySize: 512,
      Timeout: 30,
      ReservedConcurrentExecutions: 10,
    });
    expect(alb.functions.get(REGISTRY)?.['ReservedConcurrentExecutions']).toEqual(ref('AWS::NoValue'));
    expect(namesInZip(await on.zip(REGISTRY))).toEqual(['dist/functions/registry/index.mjs']);
    expect(on.variables(REGISTRY)).toMatchObject({
      MIRROR_SYNC_ARCHIVE: { 'Fn::Sub': 's3://${ArchiveBucket}/' },
      MIRROR_SYNC_REGISTRY_TOKENS_SECRET: ref('RegistryTokens'),
      MIRROR_SYNC_REGISTRY_DEFAULT_HOST: 'docker.io',
    });
    expect(alb.variables(REGISTRY)).toMatchObject({ MIRROR_SYNC_REGISTRY_TOKENS_SECRET: 'public' });
  });

  test('has exactly the variables that it reads', async () => {
    const source = await readFile(join(import.meta.dirname, '../../../functions/registry.ts'), 'utf8');
    const wanted = [...source.matchAll(/readEnvironment\(\s*env,([^)]*)\)/g)].map(([, names]) => names).join();
    const read = new Set<string>();
    const environment = new Proxy({}, { getOwnPropertyDescriptor: (_, variable) => void read.add(String(variable)) });
    const names = [...wanted.matchAll(/'(\w+)'/g)].map(([, key]) => key as keyof Environment);
    expect(() => readEnvironment(environment, ...names)).toThrow('is not set');
    const given = Object.keys(on.variables(REGISTRY)).filter((variable) => variable.startsWith('MIRROR_SYNC_'));
    expect(new Set(given)).toEqual(read);
    expect(on.variables(REGISTRY)).toMatchObject({
      MIRROR_SYNC_REGISTRY_FILL: 'off',
      MIRROR_SYNC_CONFIG: ref('AWS::NoValue'),
      MIRROR_SYNC_RESOLVE_QUEUE_URL: ref('AWS::NoValue'),
    });
    expect(filling.variables(REGISTRY)).toMatchObject({
      MIRROR_SYNC_REGISTRY_FILL: 'on',
      MIRROR_SYNC_CONFIG: { 'Fn::Sub': 's3://${ArchiveBucket}/config/mirror.yaml' },
      MIRROR_SYNC_RESOLVE_QUEUE_URL: ref('ResolveQueue'),
    });
  });

  // This list is complete. A change that adds a permission must add it here.
  test('may read the archive below its prefix and the hashes of tokens, and nothing else', () => {
    const within = (account: object) => JSON.stringify({ StringEquals: { 'aws:ResourceAccount': account } });
    const listing = (prefix: string): string =>
      JSON.stringify({
        StringEquals: { 'aws:ResourceAccount': ref('AWS::AccountId') },
        StringLikeIfExists: { 's3:prefix': `${prefix}*` },
      });
    const expected = (prefix: string): string[] => [
      'logs:CreateLogStream RegistryLogGroup',
      'logs:PutLogEvents RegistryLogGroup',
      ...['blobs', '.mirror/receipts', '.mirror/members', 'repositories'].map(
        (folder) => `s3:GetObject ${prefix}${folder}/* if ${within(ref('AWS::AccountId'))}`,
      ),
      `s3:ListBucket \${ArchiveBucket} if ${listing(prefix)}`,
    ];
    expect(on.permissions(REGISTRY)).toEqual(
      [...expected(''), 'secretsmanager:GetSecretValue RegistryTokens'].toSorted(),
    );
    const [useKey, ...others] = alb.permissions(REGISTRY);
    expect(useKey).toMatch(/^kms:Decrypt arn:aws:kms:\S+ if /);
    expect(others).toEqual(expected('mirror/').toSorted());
  });

  test('may also read the configuration and send messages to the resolver with registryFill=on', () => {
    const more = filling.permissions(REGISTRY).filter((one) => !on.permissions(REGISTRY).includes(one));
    expect(more.map((one) => one.replace(/ if .*/, ''))).toEqual([
      `kms:Decrypt ${KEY}`,
      `kms:GenerateDataKey ${KEY}`,
      's3:GetObject config/mirror.yaml',
      'sqs:SendMessage ResolveQueue',
    ]);
  });

  test('has an encrypted log and encrypted variables with a customer-managed key', () => {
    expect(alb.functions.get(REGISTRY)?.['KmsKeyArn']).toBe(KEY);
    expect(alb.properties('RegistryLogGroup')['KmsKeyId']).toBe(KEY);
  });
});

describe('registry=on', () => {
  test('has a public URL, with both permissions that AWS requires', () => {
    expect(on.properties('RegistryLambdaFunctionUrl')).toMatchObject({ AuthType: 'NONE' });
    const permissions = on
      .ofType('AWS::Lambda::Permission')
      .map(([, properties]) => properties)
      .filter(({ FunctionName }) => JSON.stringify(FunctionName).includes('RegistryLambdaFunction'));
    expect(permissions).toMatchObject([
      { Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' },
      { Action: 'lambda:InvokeFunction', Principal: '*', InvokedViaFunctionUrl: true },
    ]);
    expect(idsOf(on)).not.toContain('RegistryLoadBalancer');
  });

  test('starts without any token', () => {
    expect(on.properties('RegistryTokens')).toMatchObject({
      Name: 'mirror-sync-prod-registry-tokens',
      SecretString: '{}',
    });
    expect(idsOf(alb)).not.toContain('RegistryTokens');
  });
});

describe('registry=alb', () => {
  test('has a load balancer for the domain instead of the URL', () => {
    expect(idsOf(alb)).not.toContain('RegistryLambdaFunctionUrl');
    expect(alb.properties('RegistryLoadBalancer')).toMatchObject({ Scheme: 'internal', Subnets: SUBNETS });
    expect(alb.properties('RegistryListener')).toMatchObject({
      Protocol: 'HTTPS',
      Port: 443,
      Certificates: [{ CertificateArn: CERTIFICATE }],
      DefaultActions: [{ Type: 'fixed-response', FixedResponseConfig: { StatusCode: '404' } }],
    });
    expect(alb.properties('RegistryRule')).toMatchObject({
      Conditions: [{ Field: 'host-header', HostHeaderConfig: { Values: ['registry.example.com'] } }],
      Actions: [{ Type: 'forward', TargetGroupArn: ref('RegistryTargets') }],
    });
    expect(alb.properties('RegistryTargets')).toEqual({
      TargetType: 'lambda',
      Targets: [{ Id: arn('RegistryLambdaFunction') }],
    });
    expect(alb.outputs['RegistryLoadBalancer']?.Value).toEqual({
      'Fn::GetAtt': ['RegistryLoadBalancer', 'DNSName'],
    });
  });

  test('admits only the ranges of the parameter, over TLS, and only target groups of this account', () => {
    const { SecurityGroupIngress, SecurityGroupEgress } = alb.properties('RegistrySecurityGroup');
    expect(SecurityGroupIngress).toEqual(
      ['10.0.0.0/8', '192.168.0.0/16'].map((CidrIp) => ({
        IpProtocol: 'tcp',
        FromPort: 443,
        ToPort: 443,
        CidrIp,
        Description: 'Registry clients',
      })),
    );
    expect(SecurityGroupEgress).toMatchObject([{ CidrIp: '127.0.0.1/32' }]);
    expect(alb.properties('RegistryBalancerPermission')).toMatchObject({
      Action: 'lambda:InvokeFunction',
      Principal: 'elasticloadbalancing.amazonaws.com',
      SourceArn: {
        'Fn::Sub': 'arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}:targetgroup/*',
      },
    });
  });
});

describe('the alarms of the registry', () => {
  test('watch errors, responses with 5xx, throttles, and the load balancer', () => {
    const watched = (template: Packaged): string[] =>
      template
        .ofType('AWS::CloudWatch::Alarm')
        .filter(([id]) => id.startsWith('Registry'))
        .map(([, { Namespace, MetricName }]) => `${String(Namespace)} ${String(MetricName)}`);
    const common = ['AWS/Lambda Errors', 'MirrorSync RegistryErrors', 'AWS/Lambda Throttles'];
    expect(watched(on)).toEqual(common);
    expect(watched(alb)).toEqual([...common, 'AWS/ApplicationELB HTTPCode_ELB_5XX_Count']);
  });

  test('are all on its dashboard, whose metrics exist', () => {
    for (const template of [on, alb]) {
      const { 'Fn::Sub': body } = template.properties('RegistryDashboard')['DashboardBody'] as { 'Fn::Sub': string };
      const { widgets } = JSON.parse(body) as { widgets: { properties: { alarms?: string[] } }[] };
      const alarms = template.ofType('AWS::CloudWatch::Alarm').filter(([id]) => id.startsWith('Registry'));
      expect(widgets[0]?.properties.alarms?.toSorted()).toEqual(alarms.map(([id]) => `\${${id}.Arn}`).toSorted());
      for (const text of ['RegistryRequests', 'RegistryMisses', 'RegistryBytesRedirected'])
        expect(body).toContain(text);
    }
  });

  test('include the budget of all functions, which counts the registry with its memory', () => {
    const [sum, ...terms] = alb.properties('LambdaBudgetAlarm')['Metrics'] as Properties[];
    expect(sum?.['Expression']).toMatch(/ \+ FILL\(registry, 0\) \* 1024\) \/ 1024000$/);
    expect(terms.at(-1)).toEqual({
      Id: 'registry',
      ReturnData: false,
      MetricStat: {
        Stat: 'Sum',
        Period: 86_400,
        Metric: {
          Namespace: 'AWS/Lambda',
          MetricName: 'Duration',
          Dimensions: [{ Name: 'FunctionName', Value: ref('RegistryLambdaFunction') }],
        },
      },
    });
    expect(terms).toHaveLength(alb.functions.size);
    expect(off.properties('LambdaBudgetAlarm')['Metrics']).toHaveLength(1 + off.functions.size);
  });
});

describe('cfn-lint', () => {
  test.skipIf(CFN_LINT === undefined)('reports nothing (skipped if it is not installed)', async () => {
    for (const template of [on, alb, filling]) expect(await lint(template)).toEqual({ stdout: '', stderr: '' });
  });
});
