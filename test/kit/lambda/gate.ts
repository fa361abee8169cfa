import { once } from 'node:events';
import { createServer, type IncomingMessage, request as requestHttp, type ServerResponse } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { Statement } from '../packaged.ts';
import { allows, type CloudNames, type Need, needsOfS3, needsOfTarget } from './iam.ts';

/**
 * Occasional faults of S3: it is busy or broken (503, 500), or a connection is cut before the request (`cut`) or before the
 * response (`lost`).
 */
export type S3Fault = 500 | 503 | 'cut' | 'lost';

export interface GateOptions {
  /** The role of the function. */
  readonly name: string;
  /** The destination of the requests. */
  readonly s3: string;
  readonly sqs: string;
  readonly services: string;
  readonly s3Fault?: (() => S3Fault | undefined) | undefined;
}

/**
 * IAM between a function and AWS. Each request is identified by its action and its resource. It is refused if the
 * function's role in the template does not allow it, and otherwise passed on unchanged, including the signed Host.
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

  /** Sets the permissions of the function's role (resolved). Before this call, all requests are refused. */
  open(statements: readonly Statement[], names: CloudNames): void {
    this.#role = { statements, names };
  }

  /** Rejects with the missing permission if the role lacks one: `s3:GetObject arn:…`. */
  get denied(): Promise<never> {
    return this.#denied.promise;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The environment that the SDK in the function's process needs. */
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
      // A client without the permission to list does not learn that an object is missing.
      const bucket = `arn:aws:s3:::${url.pathname.split('/')[1] ?? ''}`;
      const hidden =
        needs[0]?.action === 's3:GetObject' && !this.#allows({ action: 's3:ListBucket', resource: bucket });
      await forward(request, response, s3, undefined, (status) => {
        if (fault === 'lost') response.destroy();
        else if (status === 404 && hidden) {
          this.#deny(`s3:ListBucket ${bucket}, to get a 404 for ${url.pathname}`);
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

/** @param goesOn called with the status of the response; if it returns false, it has handled the response itself */
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
  // A disconnect on this side disconnects the other side.
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
