import { once } from 'node:events';
import { createServer, type IncomingMessage, request as requestHttp, type ServerResponse } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { Statement } from '../packaged.ts';
import { allows, type CloudNames, type Need, needsOfS3, needsOfTarget } from './iam.ts';

/**
 * What S3 does now and then: it is busy or broken (503, 500), a connection is cut before the request is through, or after it
 * was done and before the answer (`lost`).
 */
export type S3Fault = 500 | 503 | 'cut' | 'lost';

export interface GateOptions {
  /** The function's. */
  readonly name: string;
  /** Where requests go on to. */
  readonly s3: string;
  readonly sqs: string;
  readonly services: string;
  readonly s3Fault?: (() => S3Fault | undefined) | undefined;
}

/**
 * What stands between a function and AWS: IAM. Each request is told by its action and its resource, refused where the
 * function's role in the template does not allow it, and handed on untouched otherwise, the Host that it was signed for
 * included.
 */
export class Gate implements AsyncDisposable {
  readonly #server = createServer();
  readonly #options: GateOptions;
  #role: { readonly statements: readonly Statement[]; readonly names: CloudNames } | undefined;
  readonly #denied = Promise.withResolvers<never>();

  private constructor(options: GateOptions) {
    this.#options = options;
    this.#denied.promise.catch(() => undefined);
    this.#server.on('request', (request, response) => {
      this.#serve(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(options: GateOptions): Promise<Gate> {
    const gate = new Gate(options);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  /** Lets through what the function's role (resolved) allows; before that, nothing. */
  open(statements: readonly Statement[], names: CloudNames): void {
    this.#role = { statements, names };
  }

  /** Rejects when the role lacks something, and says what: `s3:GetObject arn:…`. */
  get denied(): Promise<never> {
    return this.#denied.promise;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What the SDK in the function's process has to find in its environment. */
  get env(): Readonly<Record<string, string>> {
    const services = ['S3', 'SQS', 'SECRETS_MANAGER', 'EVENTBRIDGE', 'ECR'];
    return Object.fromEntries(services.map((service) => [`AWS_ENDPOINT_URL_${service}`, this.endpoint]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.headers['x-amz-target'];
    if (typeof target === 'string') await this.#json(target, request, response);
    else await this.#s3(request, response);
  }

  async #json(target: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { sqs, services } = this.#options;
    const body = await buffer(request);
    const denied = this.#denial(needsOfTarget(target, JSON.parse(body.toString()), this.#names));
    if (denied === undefined) await forward(request, response, target.startsWith('AmazonSQS.') ? sqs : services, body);
    else
      response
        .writeHead(400, { 'content-type': 'application/x-amz-json-1.0' })
        .end(JSON.stringify({ __type: 'AccessDeniedException', message: `not authorized: ${denied}` }));
  }

  async #s3(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { s3, s3Fault } = this.#options;
    const { method = '', headers } = request;
    const url = new URL(request.url ?? '', s3);
    const needs = needsOfS3(method, url, headers);
    const denied = this.#denial(needs);
    if (denied !== undefined) {
      request.resume();
      refuse(response, 403, 'AccessDenied', method);
      return;
    }
    const fault = s3Fault?.();
    if (fault === undefined || fault === 'lost') {
      // Who may not list is not told either that there is nothing.
      const bucket = `arn:aws:s3:::${url.pathname.split('/')[1] ?? ''}`;
      const hidden =
        needs[0]?.action === 's3:GetObject' && !this.#allows({ action: 's3:ListBucket', resource: bucket });
      await forward(request, response, s3, undefined, (status) => {
        if (fault === 'lost') response.destroy();
        else if (status === 404 && hidden) {
          this.#deny(`s3:ListBucket ${bucket}, to hear that there is no ${url.pathname}`);
          refuse(response, 403, 'AccessDenied', method);
        } else return true;
        return false;
      });
    } else if (fault === 'cut') request.socket.destroy();
    else {
      request.resume();
      refuse(response, fault, fault === 503 ? 'SlowDown' : 'InternalError', method);
    }
  }

  get #names(): CloudNames {
    if (this.#role === undefined) throw new Error('the gate is not open');
    return this.#role.names;
  }

  #allows(need: Need): boolean {
    return this.#role !== undefined && allows(this.#role.statements, need);
  }

  #deny(what: string): void {
    this.#denied.reject(new Error(`${this.#options.name} is denied ${what}`));
  }

  #denial(needs: readonly Need[]): string | undefined {
    const need = needs.find((each) => !this.#allows(each));
    if (need === undefined) return undefined;
    const denied = `${need.action} ${need.resource}`;
    this.#deny(denied);
    return denied;
  }
}

function refuse(response: ServerResponse, status: number, code: string, method: string): void {
  const document = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  response.writeHead(status, { 'content-type': 'application/xml' }).end(method === 'HEAD' ? undefined : document);
}

/** @param goesOn told of the answer's status; where it says no, it has seen to the response itself */
async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  to: string,
  body: Buffer | undefined,
  goesOn: (status: number) => boolean = () => true,
): Promise<void> {
  const { protocol, hostname, port } = new URL(to);
  const send = protocol === 'https:' ? requestHttps : requestHttp;
  const upstream = send({
    hostname,
    port,
    method: request.method,
    path: request.url,
    headers: request.rawHeaders,
    setHost: false,
  });
  // Whoever gives up on this side gives up on the other.
  response.once('close', () => upstream.destroy());
  upstream.on('error', () => response.destroy());
  const answered = once(upstream, 'response') as Promise<[IncomingMessage]>;
  if (body !== undefined) upstream.end(body);
  else pipeline(request, upstream).catch((error: unknown) => upstream.destroy(error as Error));
  const [answer] = await answered;
  if (goesOn(answer.statusCode ?? 0)) {
    response.writeHead(answer.statusCode ?? 0, answer.statusMessage, answer.rawHeaders);
    await pipeline(answer, response);
  } else answer.resume();
}
