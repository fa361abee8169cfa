/** Events of a Lambda function URL and of a load balancer, as AWS documents them. */
import type { ALBEvent, APIGatewayProxyEventV2 } from 'aws-lambda';

export interface HttpCall {
  /** The raw target, path and query. */
  readonly target: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** AWS Lambda, "Invoking Lambda function URLs", "Request payload format". */
export function functionUrlEvent({ target, method = 'GET', headers = {} }: HttpCall): APIGatewayProxyEventV2 {
  const [rawPath, rawQueryString] = split(target);
  const domainPrefix = 'abcdefghijklmnopqrstuvwxyz012345';
  const domainName = `${domainPrefix}.lambda-url.eu-central-1.on.aws`;
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    headers: {
      host: domainName,
      'x-amzn-trace-id': 'Root=1-5c8e2e4f-0123456789abcdef01234567',
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-port': '443',
      'x-forwarded-proto': 'https',
      'user-agent': 'containerd/1.6.20',
      ...headers,
    },
    requestContext: {
      accountId: 'anonymous',
      apiId: domainPrefix,
      domainName,
      domainPrefix,
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'containerd/1.6.20' },
      requestId: '11111111-2222-3333-4444-555555555555',
      routeKey: '$default',
      stage: '$default',
      time: '31/Jan/2026:12:00:00 +0000',
      timeEpoch: 1_769_860_800_000,
    },
    isBase64Encoded: false,
  };
}

/** Elastic Load Balancing, "Use Lambda functions as targets", "Receive events from the load balancer". */
export function balancerEvent({ target, method = 'GET', headers = {} }: HttpCall, isMultiple = false): ALBEvent {
  const [path, query] = split(target);
  // The load balancer does not unescape parameters.
  const parameters = Object.fromEntries(
    query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => pair.split(/=(.*)/s, 2) as [string, string]),
  );
  const all: Record<string, string> = {
    host: 'registry.example.com',
    'user-agent': 'containerd/1.6.20',
    'x-amzn-trace-id': 'Root=1-5c8e2e4f-0123456789abcdef01234567',
    'x-forwarded-for': '198.51.100.1, 203.0.113.7',
    'x-forwarded-port': '443',
    'x-forwarded-proto': 'https',
    ...headers,
  };
  const lists = (values: Record<string, string>): Record<string, string[]> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value]]));
  return {
    requestContext: {
      elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/registry/0123456789' },
    },
    httpMethod: method,
    path,
    ...(isMultiple
      ? { multiValueQueryStringParameters: lists(parameters), multiValueHeaders: lists(all) }
      : { queryStringParameters: parameters, headers: all }),
    body: '',
    isBase64Encoded: false,
  };
}

function split(target: string): [string, string] {
  const [path = '', ...query] = target.split('?');
  return [path, query.join('?')];
}
