import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

const PREFIX = '/2018-06-01/runtime';

export interface RuntimeError {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly trace?: readonly string[];
}

/** The return value of the function (parsed), or its failure. */
export type Outcome = { readonly payload: unknown } | { readonly error: RuntimeError };

interface Job {
  readonly id: string;
  readonly event: unknown;
  readonly timeoutMs: number;
  readonly settle: (outcome: Outcome) => void;
  readonly onSent: () => void;
}

/**
 * Lambda's Runtime API for one sandbox (AWS Lambda, "Using the Lambda runtime API"): the runtime requests the next
 * event, waits until there is one, posts a response or an error, and requests again. It handles one event at a time.
 */
export class RuntimeApi implements AsyncDisposable {
  readonly #server: Server;
  readonly #arn: string;
  readonly #onIdle: () => void;
  readonly #onInitError: (error: RuntimeError) => void;
  #asking: ServerResponse | undefined;
  #job: Job | undefined;

  private constructor(server: Server, options: RuntimeApiOptions) {
    this.#server = server;
    this.#arn = options.functionArn;
    this.#onIdle = options.onIdle;
    this.#onInitError = options.onInitError;
  }

  static async start(options: RuntimeApiOptions): Promise<RuntimeApi> {
    const server = createServer();
    const api = new RuntimeApi(server, options);
    server.on('request', (request, response) => {
      api.#answer(request, response).catch((error: unknown) => {
        response.destroy(error as Error);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return api;
  }

  /** `host:port`, as AWS_LAMBDA_RUNTIME_API has it. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Delivers an event as soon as the runtime requests one. `onSent`: the time of the event starts now. */
  invoke(event: unknown, options: { readonly timeoutMs: number; readonly onSent: () => void }): Promise<Outcome> {
    if (this.#job !== undefined) throw new Error('a sandbox handles one event at a time');
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#job = { id: randomUUID(), event, settle: resolve, ...options };
    if (this.#asking !== undefined) this.#send(this.#asking, this.#job);
    return promise;
  }

  /** Ends the event that is being handled, if there is one. */
  settle(outcome: Outcome): void {
    const job = this.#job;
    this.#job = undefined;
    job?.settle(outcome);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => {
      resolve();
    });
    this.#server.closeAllConnections();
    await promise;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    if (request.method === 'GET' && path === `${PREFIX}/invocation/next`) {
      if (this.#job === undefined) {
        this.#asking = response;
        this.#onIdle();
      } else this.#send(response, this.#job);
      return;
    }
    const body = await text(request);
    if (path === `${PREFIX}/init/error`) this.#onInitError(JSON.parse(body) as RuntimeError);
    else if (path === `${PREFIX}/invocation/${this.#job?.id ?? ''}/response`)
      this.settle({ payload: JSON.parse(body) });
    else if (path === `${PREFIX}/invocation/${this.#job?.id ?? ''}/error`)
      this.settle({ error: JSON.parse(body) as RuntimeError });
    else {
      response.writeHead(400).end('{"errorType":"InvalidRequestID","errorMessage":"no such invocation"}');
      return;
    }
    response.writeHead(202, { 'content-type': 'application/json' }).end('{"status":"OK"}');
  }

  #send(response: ServerResponse, { id, event, timeoutMs, onSent }: Job): void {
    this.#asking = undefined;
    onSent();
    response
      .writeHead(200, {
        'content-type': 'application/json',
        'lambda-runtime-aws-request-id': id,
        'lambda-runtime-deadline-ms': String(Date.now() + timeoutMs),
        'lambda-runtime-invoked-function-arn': this.#arn,
        'lambda-runtime-trace-id': `Root=1-00000000-${id.replaceAll('-', '').slice(0, 24)};Sampled=0`,
      })
      .end(JSON.stringify(event));
  }
}

export interface RuntimeApiOptions {
  readonly functionArn: string;
  /** The runtime requests an event while none is queued. */
  readonly onIdle: () => void;
  readonly onInitError: (error: RuntimeError) => void;
}
